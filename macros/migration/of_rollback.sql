{#-
    What a rollback has not wholly taken back in a column, as CTEs; no comma at the end. What the
    run has changed is settled when it is planned, so a batch that has restored as many rows as were
    counted then is done with: neither conflicts nor rows to restore are left in it.

    of_rollback({'table': 'deals', 'column': 'stage'}, '$1') expects the id of the rollback and CTEs
    runs, batches and value_map (all of the ledger's models). It defines reverted_runs(run_id,
    started_at), own_batches(own_batch_id, batch_id), the rollback's and the one it takes back, and
    own_values, its own map; what that does not hold is not in its scope.
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
        batches.batch_id as own_batch_id,
        batches.reverts_batch_id as batch_id
    from batches
    where
        batches.run_id = {{ run_id }}
        and batches.table_name = {{ trueup.literal(entry.table) }}
        and batches.column_name = {{ trueup.literal(entry.column) }}
        and batches.rows_updated < batches.rows_in_batch
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
