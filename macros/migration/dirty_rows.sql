{#-
    Rows that still have a planned value, and whether the run missed them, as CTEs; no comma at the
    end. Only this macro decides it, for apply and for verify.

    dirty_rows(entry, condition, run_id='$1') expects a condition on `application`, and the run's id
    as SQL. It defines, last, dirty_rows(row_key, raw_value, is_missed). A row is missed if the plan
    saw it as it is and the run never changed it. A row that was written after the plan is not
    missed if another user wrote it.
    If this run wrote it, for another column, it was listed for this column before or after; if the
    database left it as it was then, it is in the quarantine (unchanged_rows), or its batch failed.
-#}
{%- macro dirty_rows(entry, condition, run_id='$1') -%}
{{ trueup.planned_runs(run_id) }},

-- written by this run, if a batch of the column has failed
own_entries as {{ trueup.computed_once() }} (
    select changes.xmin as written_by
    from {{ ref('stage_normalization_changes').render() }} as changes
    where
        changes.run_id = {{ run_id }}
        and exists (
            select 1 as found
            from {{ ref('stage_migration_batches').render() }} as failed
            where
                failed.run_id = {{ run_id }}
                and failed.table_name = {{ trueup.literal(entry.table) }}
                and failed.column_name = {{ trueup.literal(entry.column) }}
                and failed.status <> 'completed'
        )
),

application_rows as (
    select
        {{ trueup.key_text(entry.key, 'application') }}
        {{- '\n            ' if entry.key | length > 1 else ' ' }}as row_key,
        {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} as raw_value,
        not {{ trueup.is_younger('application') | indent(8) }}
        or application.xmin in (
            select own_entries.written_by
            from own_entries
        ) as is_suspect
    from {{ trueup.application_table(entry) }} as application
    where
        {{ condition | indent(8) }}
),

-- In a restored copy every row may look older than the plan; the audit knows what the run has
-- changed. It is long, so it is read only if a row is suspected.
changed_rows as (
    select application_rows.row_key
    from {{ ref('stage_normalization_changes').render() }} as changes
    inner join {{ ref('stage_migration_batches').render() }} as changed_batches
        on changes.batch_id = changed_batches.batch_id
    cross join unnest(changes.row_keys) as changed_keys (row_key)
    inner join application_rows
        on changed_keys.row_key = application_rows.row_key
    where
        (select bool_or(suspects.is_suspect) from application_rows as suspects)
        and application_rows.is_suspect
        and changes.run_id = {{ run_id }}
        and changed_batches.table_name = {{ trueup.literal(entry.table) }}
        and changed_batches.column_name = {{ trueup.literal(entry.column) }}
    group by application_rows.row_key
),

dirty_rows as (
    select
        application_rows.row_key,
        application_rows.raw_value,
        application_rows.is_suspect and changed_rows.row_key is null as is_missed
    from application_rows
    left join changed_rows
        on application_rows.row_key = changed_rows.row_key
)
{%- endmacro -%}
