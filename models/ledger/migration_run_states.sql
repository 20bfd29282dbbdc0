-- One row per run: which run a command takes if no RUN is named, and which runs have taken it back.
-- This is the only place that decides either.
with recursive runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

-- Each rollback of a run, the rollbacks of that rollback, and so on: what one of them restores, the
-- next one changes again.
descendants as (
    select
        reverting.reverts_run_id as run_id,
        reverting.run_id as reverting_run_id,
        reverting.planned_at,
        reverting.run_id as last_run_id,
        1 as sign
    from {{ ref('migration_runs') }} as reverting
    where reverting.reverts_run_id is not null
    union all
    select
        descendants.run_id,
        descendants.reverting_run_id,
        descendants.planned_at,
        reverting.run_id as last_run_id,
        -descendants.sign as sign
    from descendants
    inner join {{ ref('migration_runs') }} as reverting
        on descendants.last_run_id = reverting.reverts_run_id
),

-- rollbacks that are still in force
rollbacks as (
    select
        descendants.run_id,
        descendants.reverting_run_id,
        descendants.planned_at,
        sum(descendants.sign * batches.rows_updated) as rows_taken_back
    from descendants
    inner join batches on descendants.last_run_id = batches.run_id
    group by
        descendants.run_id,
        descendants.reverting_run_id,
        descendants.planned_at
    having sum(descendants.sign * batches.rows_updated) > 0
),

taken_back as (
    select
        rollbacks.run_id,
        cast(sum(rollbacks.rows_taken_back) as bigint) as rows_taken_back,
        string_agg(
            left(cast(rollbacks.reverting_run_id as text), 8), ', ' order by rollbacks.planned_at
        ) as short_ids,
        array_agg(
            cast(rollbacks.reverting_run_id as text) order by rollbacks.planned_at
        ) as taken_back_by
    from rollbacks
    group by rollbacks.run_id
),

-- A run that works comes first, then one that has stopped half way, then the ended ones, then plans
-- that were not applied. A run that had nothing to change says nothing, so it comes last.
ranked_runs as (
    select
        runs.run_id,
        runs.planned_at,
        replace(runs.status, '_', ' ') as status_text,
        case
            when runs.status = 'running' then 1
            when runs.status in ('paused', 'interrupted', 'failed') then 2
            when runs.status = 'planned' then 4
            when exists (
                select 1 as found
                from {{ ref('stage_migration_batches') }} as begun
                where
                    begun.run_id = runs.run_id
                    and begun.attempts > 0
            ) then 3
            when runs.status <> 'cancelled' then 5
        end as rank_of_state
    from runs
),

final as (
    select
        ranked_runs.run_id,
        case
            when ranked_runs.rank_of_state is not null
                then row_number() over (
                    order by
                        ranked_runs.rank_of_state asc,
                        ranked_runs.planned_at desc,
                        ranked_runs.run_id asc
                )
        end as place,
        ranked_runs.status_text || coalesce(', taken back by ' || taken_back.short_ids, '')
            as state_text,
        coalesce(taken_back.taken_back_by, '{}') as taken_back_by,
        coalesce(taken_back.rows_taken_back, 0) as rows_taken_back
    from ranked_runs
    left join taken_back on ranked_runs.run_id = taken_back.run_id
)

select * from final
