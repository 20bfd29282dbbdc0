planned_runs as (
    select
        cast(planned.options ->> 'planned_snapshot' as pg_snapshot) as seen_snapshot,
        cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as bigint) as next_xid
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

dirty_rows as (
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
        ) as is_missed
    from public.deals as application
    where
        application.stage = 'x'
)
