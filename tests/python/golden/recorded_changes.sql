entries as (
    select
        array_agg(changed.row_key) as row_keys,
        array_agg(changed.tenant) as tenants,
        array_agg(
            case
                when changed.value_now = changed.value_after then changed.map_id
                -- a trigger wrote something else: an error on this row, which undoes the change
                else cast('a trigger wrote ' || coalesce(changed.value_now, 'NULL') as smallint)
            end
        ) as map_ids
    from changed
    having count(*) > 0
),

recorded as (
    insert into ledger.changes (
        run_id, batch_id, row_keys, tenants, map_ids, action
    )
    select
        fence.run_id,
        fence.batch_id,
        entries.row_keys,
        entries.tenants,
        entries.map_ids,
        'revert' as action
    from fence
    cross join entries
    returning cardinality(row_keys) as rows_changed
)

select
    fence.batch_id,
    coalesce(recorded.rows_changed, 0) as rows_changed,
    cast(pg_current_snapshot() as text) as seen_snapshot
from fence
left join recorded on true
