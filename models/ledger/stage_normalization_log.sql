-- The audit row by row: every row that a run changed, took back, or could not change. Of runs that
-- write whole rows migration_audit tells.
with runs as (
    select * from {{ ref('migration_runs') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

quarantine as (
    select * from {{ ref('migration_quarantine') }}
),

changed_rows as (
    select
        batches.table_name,
        batches.column_name,
        changed.row_id,
        changed.tenant,
        value_map.value_before as stage_before,
        value_map.value_after as stage_after,
        changes.run_at,
        changes.run_id,
        changes.batch_id,
        changes.action,
        cast(null as text) as error_message
    from changes
    cross join
        lateral unnest(
            changes.row_keys,
            changes.tenants,
            changes.map_ids
        ) as changed (row_id, tenant, map_id)
    -- a change is shown even if its batch or its mapping is missing
    left join batches
        on changes.batch_id = batches.batch_id
    left join value_map
        on
            changes.run_id = value_map.run_id
            and batches.table_name = value_map.table_name
            and batches.column_name = value_map.column_name
            and changed.map_id = value_map.map_id
),

quarantined_rows as (
    select
        quarantine.table_name,
        quarantine.column_name,
        quarantine.row_key as row_id,
        cast(null as text) as tenant,
        quarantine.value_before as stage_before,
        cast(null as text) as stage_after,
        quarantine.at as run_at,
        quarantine.run_id,
        quarantine.batch_id,
        'quarantine' as action,
        quarantine.reason as error_message
    from quarantine
    -- a refusal is shown even where its run should be missing
    left join runs
        on quarantine.run_id = runs.run_id
    where coalesce(runs.record #>> '{rules,audit}', '') <> 'migration_audit'
),

logged_rows as (
    select * from changed_rows
    union all
    select * from quarantined_rows
),

final as (
    select
        logged_rows.table_name,
        logged_rows.column_name,
        logged_rows.row_id,
        logged_rows.tenant,
        logged_rows.stage_before,
        logged_rows.stage_after,
        logged_rows.stage_after as normalized_stage,
        logged_rows.run_at,
        logged_rows.run_id,
        logged_rows.batch_id,
        logged_rows.action,
        logged_rows.error_message
    from logged_rows
)

select * from final
