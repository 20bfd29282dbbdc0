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
        batches.reverts_batch_id as batch_id,
        batches.shared_batch_ids
    from batches
    where
        batches.run_id = $1
        and batches.table_name = 'deals'
        and batches.column_name = 'stage'
        and (
            batches.rows_updated < batches.rows_in_batch
            or batches.shared_batch_ids is not null
        )
),

reverted_batches as (
    select
        own_batches.batch_id,
        true as is_taken_back
    from own_batches
    union all
    select distinct
        shared.batch_id,
        false as is_taken_back
    from own_batches
    cross join unnest(own_batches.shared_batch_ids) as shared (batch_id)
    where
        not exists (
            select 1 as found
            from own_batches as taken_back
            where taken_back.batch_id = shared.batch_id
        )
),

own_values as (
    select value_map.*
    from value_map
    where
        value_map.run_id = $1
        and value_map.table_name = 'deals'
        and value_map.column_name = 'stage'
)
