{#-
    The word after `as` of a CTE that is read more than once and should be read where it stands:
    PostgreSQL would otherwise copy its rows first, and then guess how many of them a filter leaves.
    observations as {{ read_in_place() }} ( select * from ... )
-#}
{%- macro read_in_place() -%}
    not materialized
{%- endmacro -%}
