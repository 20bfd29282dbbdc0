{#-
    Was the row of a relation written after the plan of the run? It was if the plan's snapshot could
    not see the transaction that wrote it. Expects the CTE planned_runs(), or the CTE `snapshots`
    with another moment (seen_snapshot, next_xid).
    is_younger('rows') → a condition on rows.xmin

    xmin has 32 bits, so it is counted back from a number beyond all open transactions. An xmin that
    would lie ahead of that one belongs to a row frozen long ago; it counts as more than two billion
    transactions old, which every plan has seen. Never true for a plan that recorded no snapshot.
-#}
{%- macro is_younger(relation, snapshots='planned_runs') -%}
coalesce(
    not pg_visible_in_snapshot(
        cast(
            cast(
                greatest(
                    (select {{ snapshots }}.next_xid from {{ snapshots }})
                    - (
                        (
                            (select {{ snapshots }}.next_xid from {{ snapshots }})
                            - cast(cast({{ relation }}.xmin as text) as bigint)
                        )
                        & 4294967295
                    ),
                    3
                ) as text
            ) as xid8
        ),
        (select {{ snapshots }}.seen_snapshot from {{ snapshots }})
    ),
    false
)
{%- endmacro -%}
