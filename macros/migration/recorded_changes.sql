{#-
    The end of a statement that changes rows of the application: audit entry and progress, from the
    CTE `recorded` to the final select. Only this macro writes the audit.

    recorded_changes('update', ref('stage_normalization_changes'), ref('stage_migration_batches'))
    expects the CTEs fence(batch_id, run_id) and changed(row_key, tenant, value_now, value_after,
    map_id), with is_alike if other columns are compared. Returns rows_changed, one row; no row if
    the fence is empty.
-#}
{%- macro recorded_changes(action, changes, batches, compares=false) -%}
recorded as (
    insert into {{ changes }} (
        run_id, batch_id, row_keys, tenants, map_ids,{{ ' others_changed,' if compares }} action
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
        {%- if compares %}
        coalesce(
            array_agg(changed.row_key) filter (where not changed.is_alike), cast('{}' as text[])
        ) as others_changed,
        {%- endif %}
        {{ trueup.literal(action) }} as action
    from fence
    cross join changed
    group by
        fence.run_id,
        fence.batch_id
    returning cardinality(row_keys) as rows_changed
)

update {{ batches }} as batches
set
    rows_updated = batches.rows_updated + coalesce(recorded.rows_changed, 0),
    updated_at = now()
from fence
left join recorded on true
where batches.batch_id = fence.batch_id
returning coalesce(recorded.rows_changed, 0) as rows_changed
{%- endmacro -%}
