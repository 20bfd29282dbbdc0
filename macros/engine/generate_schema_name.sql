{#-
    Schema of a model. A ledger is one per database, whoever runs dbt and on whichever target, so
    the custom schema that is the var ledger_schema is taken as it is; every other one is what dbt
    makes of it. Traps: dbt calls this for trueup's own models only, another project's have their
    own; dbt_project.yml cannot read its own vars, hence +schema: ledger there means the same.
    generate_schema_name('ledger') → trueup_ledger
    generate_schema_name('audit') → <target>_audit
-#}
{%- macro generate_schema_name(custom_schema_name=none, node=none) -%}
    {%- set ledger_schema = var('ledger_schema', 'trueup_ledger') -%}
    {%- if custom_schema_name in ('ledger', ledger_schema) -%}
        {{- ledger_schema -}}
    {%- else -%}
        {{- adapter.dispatch('generate_schema_name', 'dbt')(custom_schema_name, node) | trim -}}
    {%- endif -%}
{%- endmacro -%}
