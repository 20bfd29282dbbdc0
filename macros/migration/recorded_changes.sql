{#-
    The end of a statement that changes rows of the application: the audit entry, from the CTE
    `entries` to the final select. Only this macro writes the audit.

    recorded_changes('update', ref('stage_normalization_changes')) expects the CTEs
    fence(batch_id, run_id) and changed(row_key, tenant, value_now, value_after, map_id), with
    is_alike if other columns are compared. Returns one row (batch_id, rows_changed,
    seen_snapshot); no row if the fence is empty.
-#}
{%- macro recorded_changes(action, changes, compares=false) -%}
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
        {%- if compares %},
        coalesce(
            array_agg(changed.row_key) filter (where not changed.is_alike), cast('{}' as text[])
        ) as others_changed
        {%- endif %}
    from changed
    having count(*) > 0
),

recorded as (
    insert into {{ changes }} (
        run_id, batch_id, row_keys, tenants, map_ids,{{ ' others_changed,' if compares }} action
    )
    select
        fence.run_id,
        fence.batch_id,
        entries.row_keys,
        entries.tenants,
        entries.map_ids,
        {%- if compares %}
        entries.others_changed,
        {%- endif %}
        {{ trueup.literal(action) }} as action
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
{%- endmacro -%}
