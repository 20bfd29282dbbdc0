{#-
    Rows that still have a planned value, and whether they are this run's fault, as CTEs; no comma
    at the end. The one place that decides it, for apply and for verify.

    dirty_rows(entry, condition) expects the run's id as $1, CTEs runs, changes and batches (all of
    the ledger's models) and a condition on `application`. It defines, last, dirty_rows(row_key,
    raw_value, is_missed). A row is missed where the plan saw it and the run never changed it: not
    where it was written since the plan. It is younger than the plan by the transaction that wrote
    it, unless that was one of this run, for another column. An age below zero is none of a young
    row: it was written more than two billion transactions ago.
-#}
{%- macro dirty_rows(entry, condition) -%}
changed_rows as (
    select
        changed_keys.row_key,
        bool_or(batches.column_name = {{ trueup.literal(entry.column) }}) as is_done
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join unnest(changes.row_keys) as changed_keys (row_key)
    where
        changes.run_id = $1
        and batches.table_name = {{ trueup.literal(entry.table) }}
    group by changed_keys.row_key
),

planned_runs as (
    select age(cast(cast(runs.options ->> 'planned_xid' as xid8) as xid)) as age_of_plan
    from runs
    where runs.run_id = $1
),

application_rows as (
    select
        {{ trueup.key_text(entry.key, 'application') }} as row_key,
        {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} as raw_value,
        coalesce(
            age(application.xmin) between 0 and planned_runs.age_of_plan, false
        ) as is_younger
    from {{ trueup.application_table(entry) }} as application
    cross join planned_runs
    where
        {{ condition | indent(8) }}
),

dirty_rows as (
    select
        application_rows.row_key,
        application_rows.raw_value,
        changed_rows.is_done is not true
        and (changed_rows.row_key is not null or not application_rows.is_younger) as is_missed
    from application_rows
    left join changed_rows
        on application_rows.row_key = changed_rows.row_key
)
{%- endmacro -%}
