{#-
    Every row that a rollback concerns, with its three values, and the reason if it stays unchanged,
    as CTEs; no comma at the end.

    judged_reverts({'table': 'deals', 'column': 'stage', 'key': {'id': 'bigint'}}, '$1', '$2')
    expects the id of the rollback and the array of its tenants; CTEs runs, batches, changes and
    value_map (all of the ledger's models); and the CTEs of of_rollback(). It defines, last,
    judged_rows(row_key, batch_id, tenant, map_id, value_before, value_written, value_now,
    is_restored, reason): batch_id is the batch to take back, reason is NULL if the row can
    be restored.
-#}
{%- macro judged_reverts(entry, run_id, tenants) -%}
later_runs as (
    select runs.run_id
    from runs
    cross join reverted_runs
    where
        runs.run_id not in (reverted_runs.run_id, {{ run_id }})
        and {{ trueup.is_later_run('runs', 'reverted_runs.run_id') | indent(8) }}
),

audited_batches as (
    select
        reverted_batches.batch_id,
        true as is_own,
        reverted_batches.is_taken_back,
        false as is_ours
    from reverted_batches
    union all
    select
        batches.batch_id,
        false as is_own,
        false as is_taken_back,
        true as is_ours
    from reverted_batches
    inner join batches
        on reverted_batches.batch_id = batches.reverts_batch_id
    where batches.run_id = {{ run_id }}
    union all
    select
        batches.batch_id,
        false as is_own,
        false as is_taken_back,
        false as is_ours
    from batches
    inner join later_runs
        on batches.run_id = later_runs.run_id
    where
        batches.table_name = {{ trueup.literal(entry.table) }}
        and batches.column_name = {{ trueup.literal(entry.column) }}
        and exists (
            select 1 as found
            from reverted_batches
        )
),

{{ trueup.audited_rows(tenants) }},

reverted_values as (
    select value_map.*
    from value_map
    inner join reverted_runs
        on value_map.run_id = reverted_runs.run_id
    where
        value_map.table_name = {{ trueup.literal(entry.table) }}
        and value_map.column_name = {{ trueup.literal(entry.column) }}
),

current_rows as (
    select
        {{ trueup.key_text(entry.key, 'application') }} as row_key,
        {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} as value_now
    from {{ trueup.application_table(entry) }} as application
),

judged_rows as (
    select
        audited_rows.row_key,
        audited_rows.batch_id,
        audited_rows.tenant,
        own_values.map_id,
        own_values.value_after as value_before,
        reverted_values.value_after as value_written,
        current_rows.value_now,
        audited_rows.is_restored,
        case
            when current_rows.row_key is null then 'deleted'
            when audited_rows.is_changed_later then 'changed by a later run'
            when current_rows.value_now = reverted_values.value_after then null
            else 'edited'
        end as reason
    from audited_rows
    inner join own_values
        on audited_rows.first_map_id = own_values.map_id
    inner join reverted_values
        on audited_rows.last_map_id = reverted_values.map_id
    left join current_rows
        on audited_rows.row_key = current_rows.row_key
    where audited_rows.is_in_scope
)
{%- endmacro -%}
