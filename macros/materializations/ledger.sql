{#-
    Materialization `ledger`: a permanent table. It is created from the model's contract, gets the
    columns and indexes that are added to the contract later, and is never dropped, truncated or
    replaced, not even by --full-refresh; dbt never inserts rows (the body is ledger_shape()).

    Traps: a column removed from the contract stays in the table; a changed type, default or
    constraint of an existing column has no effect (tests/python/integration/test_ledger.py compares
    them with the database); hence no CHECK that lists the statuses of a run. What an operator may
    request of one does not change: it has bounds.
-#}
{%- materialization ledger, adapter='postgres' -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}

    {%- if not config.get('contract').enforced -%}
        {{- trueup.raise_wrong_input(model.name, 'contract', 'not enforced', ['enforced: true']) -}}
    {%- elif existing is not none and not existing.is_table -%}
        {{- trueup.raise_wrong_input(this, 'relation', existing.type, ['table']) -}}
    {%- endif -%}

    {{- run_hooks(pre_hooks, inside_transaction=False) -}}
    {{- run_hooks(pre_hooks, inside_transaction=True) -}}

    {%- set found_columns = [] -%}
    {%- set found_indexes = [] -%}
    {%- if existing is not none -%}
        {%- set found_columns = adapter.get_columns_in_relation(existing)
            | map(attribute='name') | list -%}
        {%- set found_indexes = run_query(get_show_indexes_sql(existing))
            .columns['name'].values() | list -%}
    {%- endif -%}
    {%- set missing = model.columns.values() | rejectattr('name', 'in', found_columns) | list -%}

    {%- call statement('main') -%}
        {%- if existing is none -%}
create table if not exists {{ target_relation.include(database=false) }} (
    {{ trueup.ledger_elements(model.columns, model.constraints) | join(',\n    ') }}
)
        {%- elif missing -%}
alter table {{ target_relation.include(database=false) }}
            {%- for column in missing %}
    add column if not exists {{ trueup.ledger_column(column) }}{{ ',' if not loop.last }}
            {%- endfor -%}
        {%- else -%}
select 1 as nothing_is_missing
        {%- endif -%}
    {%- endcall -%}

    {%- set indexes = config.get('indexes', default=[]) -%}
    {%- for index in trueup.ledger_indexes(target_relation, indexes, found_indexes) -%}
        {%- do run_query(index) -%}
    {%- endfor -%}

    {%- set should_revoke = should_revoke(existing, full_refresh_mode=False) -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke) -%}
    {%- do persist_docs(target_relation, model) -%}

    {{- run_hooks(post_hooks, inside_transaction=True) -}}
    {{- adapter.commit() -}}
    {{- run_hooks(post_hooks, inside_transaction=False) -}}

    {{- return({'relations': [target_relation]}) -}}
{%- endmaterialization -%}
