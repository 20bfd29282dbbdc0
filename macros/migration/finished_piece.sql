{#-
    The last statement in the transaction of a piece of a batch: the progress of the batch, and the
    operator's present requests. Parameters: $1 batches, $2 lease token, $3 whether this is the last
    piece, $4 error message. No row of a batch that is not held.

    finished_piece()     → update ... returning ...
    finished_piece(true) → the same for one batch, whose changed rows are counted from the audit.
        Expects the CTE own_totals (row_total).
-#}
{%- macro finished_piece(counts=false) -%}
update {{ ref('stage_migration_batches') }} as batches
set
    {%- set rows_updated = 'batches.rows_updated' %}
    {%- if counts %}
    {%- set rows_updated = 'batches.rows_updated + own_totals.row_total' %}
    rows_updated = {{ rows_updated }},
    {%- endif %}
    duration_ms = coalesce(batches.duration_ms, 0)
    + extract(epoch from clock_timestamp() - now()) * 1000,
    rows_skipped = greatest(
        batches.rows_in_batch - batches.rows_failed
        - ({{ rows_updated }}),
        0
    ),
    status = case
        when not cast($3 as boolean) then batches.status
        when cast($4 as text) is null then 'completed'
        else 'failed'
    end,
    error_message = $4,
    completed_at = case when cast($3 as boolean) then clock_timestamp() end,
    updated_at = now()
from {{ ref('stage_migration_control') }} as control
{%- if counts %}
cross join own_totals
{%- endif %}
where
    batches.batch_id = {{ '$1' if counts else 'any(cast($1 as bigint[]))' }}
    and batches.lease_token = $2
    and batches.status = 'running'
    and control.run_id = batches.run_id
    and control.table_name = batches.table_name
    and control.column_name = batches.column_name
returning
    batches.batch_id,
    batches.rows_updated,
    batches.rows_skipped,
    batches.rows_failed,
    batches.duration_ms,
    control.requested_status,
    control.target_ms,
    control.sleep_ms,
    control.workers
{%- endmacro -%}
