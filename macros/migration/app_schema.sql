{#-
    The schema of the application's tables, the var app_schema, as a SQL literal.
    app_schema() → 'public'
-#}
{%- macro app_schema() -%}
    {{- trueup.literal(var('app_schema', 'public')) -}}
{%- endmacro -%}
