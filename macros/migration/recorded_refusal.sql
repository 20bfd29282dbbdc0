{#-
    Writes what the database refused into the quarantine: two CTEs and the statement after them.
    Expects the CTE refused (row_key, value_before). Parameters: $1 batch, $2 lease token,
    $4 SQLSTATE, $5 reason. Only once, even if the answer is lost or the batch runs again.
-#}
{%- macro recorded_refusal() -%}
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
        rows_failed = batches.rows_failed + 1,
        updated_at = now()
    from new_refusals
    where
        batches.batch_id = $1
        and batches.lease_token = $2
        and batches.status = 'running'
    returning
        batches.run_id,
        batches.batch_id,
        batches.schema_name,
        batches.table_name,
        batches.column_name,
        new_refusals.row_key,
        new_refusals.value_before
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
    held.row_key,
    held.value_before,
    $4 as sqlstate,
    $5 as reason
from held
returning row_key
{%- endmacro -%}
