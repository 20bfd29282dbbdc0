{#-
    The batches of a column that a rollback has not restored completely, as CTEs; no comma at the
    end. The original run changes no more rows once the rollback is planned. So a batch that has
    restored as many rows as were counted then is done: it has neither conflicts nor rows to restore
    left. A batch that shares rows with other batches is always read, because these batches can only
    be judged together.

    of_rollback({'table': 'deals', 'column': 'stage'}, '$1') expects the id of the rollback and CTEs
    runs, batches and value_map (all of the ledger's models). It defines reverted_runs(run_id,
    started_at), reverted_batches(batch_id, is_taken_back), batches of that run, and own_values, the
    rollback's own map; values that are not in it are not in its scope.
-#}
{%- macro of_rollback(entry, run_id) -%}
reverted_runs as (
    select
        reverted.run_id,
        reverted.started_at
    from runs as reverting
    inner join runs as reverted
        on reverting.reverts_run_id = reverted.run_id
    where reverting.run_id = {{ run_id }}
),

own_batches as (
    select
        batches.reverts_batch_id as batch_id,
        batches.shared_batch_ids
    from batches
    where
        batches.run_id = {{ run_id }}
        and batches.table_name = {{ trueup.literal(entry.table) }}
        and batches.column_name = {{ trueup.literal(entry.column) }}
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
        value_map.run_id = {{ run_id }}
        and value_map.table_name = {{ trueup.literal(entry.table) }}
        and value_map.column_name = {{ trueup.literal(entry.column) }}
)
{%- endmacro -%}
