changed_rows as (
    select
        changed_keys.row_key,
        bool_or(batches.column_name = 'stage') as is_done
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join unnest(changes.row_keys) as changed_keys (row_key)
    where
        changes.run_id = $1
        and batches.table_name = 'deals'
    group by changed_keys.row_key
),

planned_runs as (
    select age(cast(cast(runs.options ->> 'planned_xid' as xid8) as xid)) as age_of_plan
    from runs
    where runs.run_id = $1
),

application_rows as (
    select
        cast(application.id as text) as row_key,
        cast(application.stage as text) collate "C" as raw_value,
        coalesce(
            age(application.xmin) between 0 and planned_runs.age_of_plan, false
        ) as is_younger
    from public.deals as application
    cross join planned_runs
    where
        application.stage = 'x'
),

dirty_rows as (
    select
        application_rows.row_key,
        application_rows.raw_value,
        changed_rows.is_done is not true
        and (changed_rows.row_key is not null or not application_rows.is_younger) as is_missed
    from application_rows
    left join changed_rows
        on application_rows.row_key = changed_rows.row_key
)
