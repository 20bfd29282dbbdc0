{#-
    Rows that still have a planned value, and whether the run missed them, as CTEs; no comma at the
    end. Only this macro decides it, for apply and for verify.

    dirty_rows(entry, condition, run_id='$1') expects CTEs runs and batches (all of the ledger's
    models), a condition on `application`, and the run's id as SQL. It defines, last,
    dirty_rows(row_key, raw_value, is_missed). A row is missed if the plan saw it and the run never
    changed it. A row that was written after the plan is not missed: the plan's snapshot does not
    see the transaction that wrote it. Transactions of this run for another column do not count; the
    audit identifies them, because an entry is written in the transaction of its rows.
-#}
{%- macro dirty_rows(entry, condition, run_id='$1') -%}
planned_runs as (
    select
        cast(runs.options ->> 'planned_snapshot' as pg_snapshot) as planned_snapshot,
        cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as bigint) as next_xid
    from runs
    where runs.run_id = {{ run_id }}
),

audit_entries as (
    select
        changes.batch_id,
        changes.row_keys,
        changes.xmin as written_by
    from {{ ref('stage_normalization_changes').render() }} as changes
    where changes.run_id = {{ run_id }}
),

application_rows as (
    select
        {{ trueup.key_text(entry.key, 'application') }}
        {{- '\n            ' if entry.key | length > 1 else ' ' }}as row_key,
        {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} as raw_value,
        application.xmin in (
            select audit_entries.written_by
            from audit_entries
        )
        or not {{ trueup.is_younger('application') | indent(8) }} as is_suspect
    from {{ trueup.application_table(entry) }} as application
    where
        {{ condition | indent(8) }}
),

-- The audit is long: it is read only if a row is suspected.
changed_rows as (
    select application_rows.row_key
    from audit_entries
    inner join batches
        on audit_entries.batch_id = batches.batch_id
    cross join unnest(audit_entries.row_keys) as changed_keys (row_key)
    inner join application_rows
        on changed_keys.row_key = application_rows.row_key
    where
        (select bool_or(suspects.is_suspect) from application_rows as suspects)
        and application_rows.is_suspect
        and batches.table_name = {{ trueup.literal(entry.table) }}
        and batches.column_name = {{ trueup.literal(entry.column) }}
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
