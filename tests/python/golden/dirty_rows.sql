planned_runs as (
    select
        cast(runs.options ->> 'planned_snapshot' as pg_snapshot) as planned_snapshot,
        cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as bigint) as next_xid
    from runs
    where runs.run_id = $1
),

audit_entries as (
    select
        changes.batch_id,
        changes.row_keys,
        changes.xmin as written_by
    from stage_normalization_changes as changes
    where changes.run_id = $1
),

application_rows as (
    select
        cast(application.id as text) as row_key,
        cast(application.stage as text) collate "C" as raw_value,
        application.xmin in (
            select audit_entries.written_by
            from audit_entries
        )
        or not coalesce(
            not pg_visible_in_snapshot(
                cast(
                    cast(
                        greatest(
                            (select planned_runs.next_xid from planned_runs)
                            - (
                                (
                                    (select planned_runs.next_xid from planned_runs)
                                    - cast(cast(application.xmin as text) as bigint)
                                )
                                & 4294967295
                            ),
                            3
                        ) as text
                    ) as xid8
                ),
                (select planned_runs.planned_snapshot from planned_runs)
            ),
            false
        ) as is_suspect
    from public.deals as application
    where
        application.stage = 'x'
),

-- The audit is long: it is read only if a row is suspected.
changed_rows as (
    select application_rows.row_key
    from audit_entries
    inner join batches
        on audit_entries.batch_id = batches.batch_id
    cross join unnest(audit_entries.row_keys) as changed_keys (row_key)
    inner join application_rows
        on changed_keys.row_key = application_rows.row_key
    where
        (select bool_or(suspects.is_suspect) from application_rows as suspects)
        and application_rows.is_suspect
        and batches.table_name = 'deals'
        and batches.column_name = 'stage'
    group by application_rows.row_key
),

dirty_rows as (
    select
        application_rows.row_key,
        application_rows.raw_value,
        application_rows.is_suspect and changed_rows.row_key is null as is_missed
    from application_rows
    left join changed_rows
        on application_rows.row_key = changed_rows.row_key
)
