{#-
    Was the row of a relation written after the plan of the run? It was if the plan's snapshot could
    not see the transaction that wrote it. Expects a CTE planned_runs (planned_snapshot, next_xid),
    as in dirty_rows().
    is_younger('rows') → a condition on rows.xmin

    xmin has 32 bits, so it is counted back from the next transaction. An xmin that would lie ahead
    of that one belongs to a row frozen long ago; it counts as more than two billion transactions
    old, which every plan has seen. Never true for a plan that recorded no snapshot.
-#}
{%- macro is_younger(relation) -%}
coalesce(
    not pg_visible_in_snapshot(
        cast(
            cast(
                greatest(
                    (select planned_runs.next_xid from planned_runs)
                    - (
                        (
                            (select planned_runs.next_xid from planned_runs)
                            - cast(cast({{ relation }}.xmin as text) as bigint)
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
)
{%- endmacro -%}
