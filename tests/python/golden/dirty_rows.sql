planned_runs as (
    select
        cast(planned.options ->> 'planned_snapshot' as pg_snapshot) as seen_snapshot,
        -- A snapshot may end below transactions that are open, its own among them: these lie ahead.
        cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as bigint)
        + 10000 as next_xid
    from migration_runs as planned
    where planned.run_id = $1
),

-- written by this run, if a batch of the column has failed
own_entries as materialized (
    select changes.xmin as written_by
    from stage_normalization_changes as changes
    where
        changes.run_id = $1
        and exists (
            select 1 as found
            from stage_migration_batches as failed
            where
                failed.run_id = $1
                and failed.table_name = 'deals'
                and failed.column_name = 'stage'
                and failed.status <> 'completed'
        )
),

application_rows as (
    select
        cast(application.id as text) as row_key,
        cast(application.stage as text) collate "C" as raw_value,
        not coalesce(
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
                (select planned_runs.seen_snapshot from planned_runs)
            ),
            false
        )
        or application.xmin in (
            select own_entries.written_by
            from own_entries
        ) as is_suspect
    from public.deals as application
    where
        application.stage = 'x'
),

-- In a restored copy every row may look older than the plan; the audit knows what the run has
-- changed. It is long, so it is read only if a row is suspected.
changed_rows as (
    select application_rows.row_key
    from stage_normalization_changes as changes
    inner join stage_migration_batches as changed_batches
        on changes.batch_id = changed_batches.batch_id
    cross join unnest(changes.row_keys) as changed_keys (row_key)
    inner join application_rows
        on changed_keys.row_key = application_rows.row_key
    where
        (select bool_or(suspects.is_suspect) from application_rows as suspects)
        and application_rows.is_suspect
        and changes.run_id = $1
        and changed_batches.table_name = 'deals'
        and changed_batches.column_name = 'stage'
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
