{#-
    One column of a ledger table as `create table` and `add column` take it: name, type, the
    constraints of the contract and the default in its config.meta.default, an SQL expression.
    ledger_column({'name': 'attempts', 'data_type': 'integer', 'constraints': [{'type':
    'not_null'}], 'config': {'meta': {'default': 0}}}) → attempts integer not null default 0
    Trap: a column that is added to a table with rows and may not be NULL needs a default.
-#}
{%- macro ledger_column(column) -%}
    {%- set default = column.get('config', {}).get('meta', {}).get('default') -%}
    {{- adapter.render_raw_columns_constraints(raw_columns={column.name: column}) | first -}}
    {%- if default is not none %} default {{ default }}{% endif -%}
{%- endmacro -%}
