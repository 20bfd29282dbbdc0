{#-
    One column of the CTE request, asked for by itself: joined to it, a scan of a big table would
    not be parallel. NULL if there is no run.
    requested('most') → (select request.most from request)
-#}
{%- macro requested(column) -%}
(select request.{{ column }} from request)
{%- endmacro -%}
