{#-
    The CTE `planned_runs`, which is_younger() expects: the snapshot of the plan of a run; no comma
    at the end.
    planned_runs('$1') → planned_runs as (select ... as seen_snapshot, ... as next_xid ...)
-#}
{%- macro planned_runs(run_id) -%}
planned_runs as (
    select
        cast(planned.options ->> 'planned_snapshot' as pg_snapshot) as seen_snapshot,
        -- A snapshot may end below transactions that are open, its own among them: these lie ahead.
        cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as bigint)
        + 10000 as next_xid
    from {{ ref('migration_runs') }} as planned
    where planned.run_id = {{ run_id }}
)
{%- endmacro -%}
