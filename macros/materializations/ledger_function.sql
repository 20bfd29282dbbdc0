{#-
    Materialization `ledger_function`: a function of the ledger. The model's body is the whole
    `create or replace function`, and revokes it from public. No lock is taken that a trigger or a
    writer would wait for.

    Traps: PostgreSQL does not look into the body before the function is called, so a function may
    be made before the tables exist that it reads; the type of what it returns cannot be changed
    later.
-#}
{%- materialization ledger_function, adapter='postgres' -%}
    {{- run_hooks(pre_hooks, inside_transaction=False) -}}
    {{- run_hooks(pre_hooks, inside_transaction=True) -}}

    {%- call statement('main') -%}
set local check_function_bodies = off;
{{ sql }}
    {%- endcall -%}

    {{- run_hooks(post_hooks, inside_transaction=True) -}}
    {{- adapter.commit() -}}
    {{- run_hooks(post_hooks, inside_transaction=False) -}}

    {{- return({'relations': []}) -}}
{%- endmaterialization -%}
