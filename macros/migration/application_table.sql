{#-
    The application's table of a managed column, in the schema of the var app_schema.
    application_table({'table': 'investments'}) → public.investments
-#}
{%- macro application_table(entry) -%}
    {{- trueup.quoted(var('app_schema', 'public')) }}.{{ trueup.quoted(entry.table) -}}
{%- endmacro -%}
