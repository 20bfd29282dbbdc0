{#-
    The statement that opens batches of run $1 again. Expects the CTE open_batches (batch_id): those
    of the other run that have rows left, if $1 takes one back; with own=true its own batches.
    reopened_batches('$3'): the number of the parameter with the lease token
-#}
{%- macro reopened_batches(lease_token, own=false) -%}
update {{ ref('stage_migration_batches') }} as reopened
set
    status = 'pending',
    lease_token = null,
    lease_until = null,
    completed_at = null,
    error_message = null,
    updated_at = now()
from open_batches
where
    reopened.run_id = $1
    and reopened.{{ 'batch_id' if own else 'reverts_batch_id' }} = open_batches.batch_id
    and reopened.status in ('completed', 'failed')
    and {{ trueup.holds_run(ref('stage_migration_control'), '$1', lease_token) | indent(4) }}
returning reopened.batch_id
{%- endmacro -%}
