{#-
    The elements inside the brackets of a ledger table's `create table`: its columns and the
    constraints of the whole table, as a list of texts.
    ledger_elements({attempts: ...}, [{'type': 'primary_key', 'columns': ['run_id']}])
    → ['attempts integer not null default 0', 'primary key (run_id)']
-#}
{%- macro ledger_elements(columns, constraints) -%}
    {%- set elements = [] -%}
    {%- for column in columns.values() -%}
        {%- do elements.append(trueup.ledger_column(column)) -%}
    {%- endfor -%}
    {{- return(elements + adapter.render_raw_model_constraints(raw_constraints=constraints)) -}}
{%- endmacro -%}
