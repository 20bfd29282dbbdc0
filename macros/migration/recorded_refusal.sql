{#-
    Writes what the database refused into the quarantine: two CTEs and the statement after them.
    Expects the CTE refused (row_key, value_before). Parameters: $1 batch, $2 lease token. Only
    once, even if the answer is lost or the batch runs again.
    sqlstate and reason are SQL: recorded_refusal('$4', '$5')
-#}
{%- macro recorded_refusal(sqlstate, reason) -%}
new_refusals as (
    select refused.*
    from refused
    where
        not exists (
            select 1 as found
            from {{ ref('migration_quarantine') }} as quarantined
            where
                quarantined.batch_id = $1
                and quarantined.row_key = refused.row_key
        )
),

held as (
    update {{ ref('stage_migration_batches') }} as batches
    set
        rows_failed = batches.rows_failed + refusals.row_total,
        rows_skipped = greatest(batches.rows_skipped - refusals.row_total, 0),
        updated_at = now()
    from (select count(*) as row_total from new_refusals) as refusals
    where
        refusals.row_total > 0
        and batches.batch_id = $1
        and batches.lease_token = $2
        and batches.status in ('running', 'completed')
    returning
        batches.run_id,
        batches.batch_id,
        batches.schema_name,
        batches.table_name,
        batches.column_name
)

insert into {{ ref('migration_quarantine') }} (
    run_id, batch_id, schema_name, table_name, column_name, row_key, value_before, sqlstate, reason
)
select
    held.run_id,
    held.batch_id,
    held.schema_name,
    held.table_name,
    held.column_name,
    new_refusals.row_key,
    new_refusals.value_before,
    {{ sqlstate }} as sqlstate,
    {{ reason }} as reason
from held
cross join new_refusals
returning
    row_key,
    reason
{%- endmacro -%}
