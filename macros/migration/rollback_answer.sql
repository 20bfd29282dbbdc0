{#-
    How a statement that plans a rollback answers, from its CTEs on: one row, an entry of `columns`
    in `trueup rollback --dry-run --format json`.

    rollback_answer({'table': 'deals', 'column': 'stage'}, '$6') expects the CTEs counted_batches, a
    row per batch; restored_values(value_now, value_restored, row_count); conflicts(row_key, tenant,
    value_before, value_written, value_now, reason, place), place within the reason, and table_name
    in it where the run wrote other tables. $6 is how many conflicts of each reason are shown; NULL:
    all. Answers with table_name, column_name, rows, batches, restored, reasons and conflicts.
-#}
{%- macro rollback_answer(place, examples, has_tables=false) -%}
{%- set table = trueup.literal(place.table) -%}
{%- set column = trueup.literal(place.column) -%}
batch_totals as (
    select count(*) as batches
    from counted_batches
),

value_lists as (
    select
        coalesce(sum(restored_values.row_count), 0) as rows,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'value_now', restored_values.value_now,
                    'value_restored', restored_values.value_restored,
                    'rows', restored_values.row_count
                )
                order by
                    restored_values.row_count desc,
                    restored_values.value_now asc,
                    restored_values.value_restored asc
            ),
            '[]'
        ) as restored
    from restored_values
),

counted_reasons as (
    select
        conflicts.reason,
        count(*) as row_count
    from conflicts
    group by conflicts.reason
),

reason_lists as (
    select
        coalesce(
            jsonb_object_agg(counted_reasons.reason, counted_reasons.row_count), '{}'
        ) as reason_rows
    from counted_reasons
),

conflict_lists as (
    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'table_name', {{ 'conflicts.table_name' if has_tables else table }},
                    'column_name', {{ 'null' if has_tables else column }},
                    'row_key', conflicts.row_key,
                    'tenant', conflicts.tenant,
                    'value_before', conflicts.value_before,
                    'value_written', conflicts.value_written,
                    'value_now', conflicts.value_now,
                    'reason', conflicts.reason
                )
                order by
                    conflicts.reason asc,
                    conflicts.place asc
            ),
            '[]'
        ) as examples
    from conflicts
    where
        cast({{ examples }} as bigint) is null
        or conflicts.place <= cast({{ examples }} as bigint)
)

select
    {{ table }} as table_name,
    {{ column }} as column_name,
    value_lists.rows,
    batch_totals.batches,
    value_lists.restored,
    reason_lists.reason_rows as reasons,
    conflict_lists.examples as conflicts
from batch_totals
cross join value_lists
cross join reason_lists
cross join conflict_lists
{%- endmacro -%}
