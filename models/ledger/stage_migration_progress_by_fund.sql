-- How far is the run of stage_migration_progress for each tenant? Rows of no tenant are the row
-- whose fund_id is NULL. If batches are not cut by tenant, the rows done are counted in the audit,
-- which reads all of the run's audit.
with progress as (
    select * from {{ ref('stage_migration_progress') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

-- a rollback restores several values from one
planned_values as (
    select distinct
        value_map.run_id,
        value_map.table_name,
        value_map.column_name,
        value_map.value_before
    from value_map
    where value_map.map_id is not null
),

shown_run as (
    select
        progress.run_id,
        progress.estimated_minutes_remaining,
        coalesce(bool_or(batches.fund_id is not null), false) as is_cut_by_tenant,
        coalesce(
            sum(batches.rows_in_batch) filter (where batches.status in ('pending', 'running')),
            0
        ) as remaining_rows
    from progress
    left join batches on progress.run_id = batches.run_id
    group by
        progress.run_id,
        progress.estimated_minutes_remaining
),

by_batch as (
    select
        shown_run.run_id,
        batches.fund_id,
        count(*) as total_batches,
        count(*) filter (where batches.status = 'pending') as pending_batches,
        count(*) filter (where batches.status = 'running') as running_batches,
        count(*) filter (where batches.status = 'completed') as completed_batches,
        count(*) filter (where batches.status = 'failed') as failed_batches,
        sum(batches.rows_planned) as rows_planned,
        sum(batches.rows_updated) as rows_updated,
        sum(batches.rows_skipped) as rows_skipped,
        sum(batches.rows_failed) as rows_failed,
        case
            when sum(batches.rows_in_batch) = 0 then 1
            else
                coalesce(
                    sum(batches.rows_in_batch) filter (where batches.status = 'completed'),
                    0
                ) / sum(batches.rows_in_batch)
        end as share_done,
        -- the tenant's share of the time that is left
        case
            when shown_run.remaining_rows = 0 then 0
            else
                coalesce(
                    sum(batches.rows_in_batch)
                    filter (where batches.status in ('pending', 'running')),
                    0
                ) * shown_run.estimated_minutes_remaining / shown_run.remaining_rows
        end as minutes_remaining
    from shown_run
    inner join batches on shown_run.run_id = batches.run_id
    where shown_run.is_cut_by_tenant
    group by
        shown_run.run_id,
        shown_run.estimated_minutes_remaining,
        shown_run.remaining_rows,
        batches.fund_id
),

planned_rows as (
    select
        baselines.tenant as fund_id,
        cast(baselines.row_counts ->> planned_values.value_before as bigint) as rows_planned,
        0 as rows_updated
    from shown_run
    inner join baselines on shown_run.run_id = baselines.run_id
    left join planned_values
        on
            baselines.run_id = planned_values.run_id
            and baselines.table_name = planned_values.table_name
            and baselines.column_name = planned_values.column_name
    where not shown_run.is_cut_by_tenant
),

updated_rows as (
    select
        changed.tenant as fund_id,
        0 as rows_planned,
        count(*) as rows_updated
    from shown_run
    inner join changes on shown_run.run_id = changes.run_id
    cross join lateral unnest(changes.tenants) as changed (tenant)
    where not shown_run.is_cut_by_tenant
    group by changed.tenant
),

rows_by_tenant as (
    select * from planned_rows
    union all
    select * from updated_rows
),

counts_by_tenant as (
    select
        rows_by_tenant.fund_id,
        coalesce(sum(rows_by_tenant.rows_planned), 0) as rows_planned,
        sum(rows_by_tenant.rows_updated) as rows_updated
    from rows_by_tenant
    group by rows_by_tenant.fund_id
),

by_audit as (
    select
        shown_run.run_id,
        counts_by_tenant.fund_id,
        counts_by_tenant.rows_planned,
        counts_by_tenant.rows_updated,
        case
            when counts_by_tenant.rows_planned = 0 and counts_by_tenant.rows_updated = 0 then 1
            else
                least(
                    counts_by_tenant.rows_updated / nullif(counts_by_tenant.rows_planned, 0),
                    1
                )
        end as share_done,
        -- batches follow the key, so most tenants are done only near the end of the run
        case
            when counts_by_tenant.rows_updated < counts_by_tenant.rows_planned
                then shown_run.estimated_minutes_remaining
            else 0
        end as minutes_remaining
    from counts_by_tenant
    cross join shown_run
),

tenants as (
    select * from by_batch
    union all
    select
        by_audit.run_id,
        by_audit.fund_id,
        null as total_batches,
        null as pending_batches,
        null as running_batches,
        null as completed_batches,
        null as failed_batches,
        by_audit.rows_planned,
        by_audit.rows_updated,
        null as rows_skipped,
        null as rows_failed,
        by_audit.share_done,
        by_audit.minutes_remaining
    from by_audit
),

final as (
    select
        tenants.run_id,
        tenants.fund_id,
        tenants.total_batches,
        tenants.pending_batches,
        tenants.running_batches,
        tenants.completed_batches,
        tenants.failed_batches,
        cast(tenants.rows_planned as bigint) as rows_planned,
        cast(tenants.rows_updated as bigint) as rows_updated,
        cast(tenants.rows_skipped as bigint) as rows_skipped,
        cast(tenants.rows_failed as bigint) as rows_failed,
        -- rounded down: 100 means all
        cast(floor(10000 * tenants.share_done) / 100 as numeric(5, 2)) as completion_percent,
        cast(tenants.minutes_remaining as numeric(12, 2)) as estimated_minutes_remaining
    from tenants
)

select * from final
