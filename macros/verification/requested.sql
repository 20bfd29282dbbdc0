{#-
    One column of the CTE request as a scalar subquery, because a join would rule out a parallel
    scan of a big table. NULL if there is no run.
    requested('most') → (select request.most from request)
-#}
{%- macro requested(column) -%}
(select request.{{ column }} from request)
{%- endmacro -%}
