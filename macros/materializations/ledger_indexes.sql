{#-
    The statements for the missing indexes of a ledger table, as a list. An index has the name that
    PostgreSQL would give it: dbt's names contain the time, so every run would create a new index.
    (`if not exists` alone is not enough: it waits for every writer before it looks.)
    ledger_indexes(relation, [{'columns': ['run_id', 'status']}, {'columns': ['fund_id']}],
    ['stage_migration_batches_fund_id_idx']) → ['create index if not exists
    stage_migration_batches_run_id_status_idx on ... (run_id, status)']
-#}
{%- macro ledger_indexes(relation, indexes, found) -%}
    {%- set statements = [] -%}
    {%- for index in indexes -%}
        {%- set name = ([relation.identifier] + index.columns + ['idx']) | join('_') -%}
        {%- if name not in found -%}
            {%- do statements.append(
                'create index if not exists ' ~ name
                ~ ' on ' ~ relation.include(database=false)
                ~ ' (' ~ index.columns | join(', ') ~ ')'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(statements) -}}
{%- endmacro -%}
