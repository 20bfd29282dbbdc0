{#-
    The keyword after `as` of a CTE that is read more than once and should not be materialized.
    Otherwise PostgreSQL copies its rows first, and then guesses how many of them a filter leaves.
    observations as {{ read_in_place() }} ( select * from ... )
-#}
{%- macro read_in_place() -%}
    not materialized
{%- endmacro -%}
