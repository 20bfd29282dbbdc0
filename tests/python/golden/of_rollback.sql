reverted_runs as (
    select
        reverted.run_id,
        reverted.started_at
    from runs as reverting
    inner join runs as reverted
        on reverting.reverts_run_id = reverted.run_id
    where reverting.run_id = $1
),

own_batches as (
    select
        batches.batch_id as own_batch_id,
        batches.reverts_batch_id as batch_id
    from batches
    where
        batches.run_id = $1
        and batches.table_name = 'deals'
        and batches.column_name = 'stage'
        and batches.rows_updated < batches.rows_in_batch
),

own_values as (
    select value_map.*
    from value_map
    where
        value_map.run_id = $1
        and value_map.table_name = 'deals'
        and value_map.column_name = 'stage'
)
