{#-
    Schema of a model. A database has one ledger, for every user and target of dbt, so the custom
    schema of the var ledger_schema is used unchanged; every other one gets dbt's default name.
    Traps: dbt calls this macro for trueup's models only, other projects have their own;
    dbt_project.yml cannot read its own vars, so `+schema: ledger` there means the same.
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
