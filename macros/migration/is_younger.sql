{#-
    Was the row of a relation written after the plan of the run? It was if the plan's snapshot could
    not see the transaction that wrote it. Expects a CTE planned_runs (planned_snapshot, next_xid),
    as in dirty_rows().
    is_younger('rows') → a condition on rows.xmin

    xmin has 32 bits. It belongs to one of the last two billion transactions, so it is counted back
    from the next one; an xmin that would lie ahead of that one is older: its row is frozen, and the
    plan saw it. Never true for a plan that recorded no snapshot.
-#}
{%- macro is_younger(relation) -%}
{%- set next_xid = '(select planned_runs.next_xid from planned_runs)' -%}
{%- set distance -%}
(
    ({{ next_xid }} - cast(cast({{ relation }}.xmin as text) as bigint)) & 4294967295
)
{%- endset -%}
coalesce(
    {{ distance | indent(4) }} < 2147483648
    and not pg_visible_in_snapshot(
        cast(
            cast(
                greatest(
                    {{ next_xid }}
                    - {{ distance | indent(20) }},
                    3
                ) as text
            ) as xid8
        ),
        (select planned_runs.planned_snapshot from planned_runs)
    ),
    false
)
{%- endmacro -%}
