-- Every failed batch of every run: its range, the number of attempts and the error.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

final as (
    select
        batches.run_id,
        batches.batch_id,
        batches.table_name,
        batches.column_name,
        batches.fund_id,
        batches.range_no,
        batches.range_start,
        batches.range_end,
        batches.stripe,
        batches.stripes,
        batches.rows_planned,
        batches.rows_updated,
        batches.rows_failed,
        batches.attempts,
        batches.error_message,
        batches.started_at,
        batches.updated_at
    from batches
    where batches.status = 'failed'
)

select * from final
