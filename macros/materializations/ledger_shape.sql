{#-
    The whole body of a ledger model: a select of no rows with the columns of its contract, which
    defines the table. Only documentation and --empty runs execute this select.
    ledger_shape() → select cast(null as uuid) as run_id, ... where false
-#}
{%- macro ledger_shape() -%}
select
    {%- for column in model.columns.values() %}
    cast(null as {{ column.data_type }}) as {{ column.name }}{{ ',' if not loop.last }}
    {%- endfor %}
where false
{%- endmacro -%}
