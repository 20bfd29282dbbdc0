{#-
    The fence of a statement that changes rows of the application: its batch, as the CTE `fence`; no
    comma at the end.

    held_batch('$1', '$2', ['batches.reverts_batch_id']) →
        fence as (select batches.batch_id, batches.run_id, batches.reverts_batch_id ... for update)

    No row if this runner does not hold the batch; whoever finds no row writes nothing.
-#}
{%- macro held_batch(batch_id, lease_token, columns=[]) -%}
fence as (
    -- This runner still holds the batch, and nobody can take it before the transaction ends.
    select
        {{ (['batches.batch_id', 'batches.run_id'] + columns) | join(',\n        ') }}
    from {{ ref('stage_migration_batches') }} as batches
    where
        batches.batch_id = {{ batch_id }}
        and batches.lease_token = {{ lease_token }}
        and batches.status = 'running'
    for no key update
)
{%- endmacro -%}
