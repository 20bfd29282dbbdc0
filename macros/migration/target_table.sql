{#-
    A table that a run writes whole rows of, in its own schema or that of the var app_schema.
    target_table({'table': 'app_orgs'})                        → public.app_orgs
    target_table({'table': 'app_orgs', 'schema': 'imported'})  → imported.app_orgs
-#}
{%- macro target_table(target) -%}
    {{- trueup.quoted(target.get('schema') or var('app_schema', 'public')) -}}
    .{{- trueup.quoted(target.table) -}}
{%- endmacro -%}
