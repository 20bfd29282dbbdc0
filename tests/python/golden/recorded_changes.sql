recorded as (
    insert into ledger.changes (
        run_id, batch_id, row_keys, tenants, map_ids, action
    )
    select
        fence.run_id,
        fence.batch_id,
        array_agg(changed.row_key) as row_keys,
        array_agg(changed.tenant) as tenants,
        array_agg(
            case
                when changed.value_now = changed.value_after then changed.map_id
                -- a trigger wrote something else: an error on this row, which undoes the change
                else cast('a trigger wrote ' || coalesce(changed.value_now, 'NULL') as smallint)
            end
        ) as map_ids,
        'revert' as action
    from fence
    cross join changed
    group by
        fence.run_id,
        fence.batch_id
    returning cardinality(row_keys) as rows_changed
)

update ledger.b as batches
set
    rows_updated = batches.rows_updated + coalesce(recorded.rows_changed, 0),
    updated_at = now()
from fence
left join recorded on true
where batches.batch_id = fence.batch_id
returning coalesce(recorded.rows_changed, 0) as rows_changed
