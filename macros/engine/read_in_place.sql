{#-
    The word after `as` of a CTE that is read more than once and should be read where it stands:
    PostgreSQL would otherwise copy all its rows to disk first, without indexes and in one process.
    companies as {{ read_in_place() }} ( select * from ... )
-#}
{%- macro read_in_place() -%}
    not materialized
{%- endmacro -%}
