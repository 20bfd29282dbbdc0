coalesce(
    not pg_visible_in_snapshot(
        cast(
            cast(
                greatest(
                    (select planned_runs.next_xid from planned_runs)
                    - (
                        (
                            (select planned_runs.next_xid from planned_runs)
                            - cast(cast(deals.xmin as text) as bigint)
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
