{#-
    SHA-256 of the audit of each batch of a run, and of the whole run, as CTEs; no comma at the end.
    Only this macro computes them: the end of a run stores them, and verify compares them.

    audit_digests('$1') expects the id of the run and CTEs batches, changes and value_map (all of
    the ledger's models). It defines batch_digests(batch_id, table_name, column_name, rows_updated,
    rows_audited, is_known, is_uneven, recorded_digest, audit_digest), one row per batch of the run
    or of its audit, and run_digests(audit_digest), one row: over the batches by their number, over
    the value map, which gives the audit's numbers their meaning, and over the digests of the plan.

    The texts are the same on every server and in every session: arrays and JSON as PostgreSQL
    writes them, times as seconds since 1970, so without a time zone. Mappings that pruning removes
    are not in the digest.
-#}
{%- macro audit_digests(run_id) -%}
run_batches as (
    select * from batches
    where batches.run_id = {{ run_id }}
),

entry_digests as {{ trueup.computed_once() }} (
    select
        changes.batch_id,
        changes.entry_id,
        cardinality(changes.row_keys) as rows_audited,
        cardinality(changes.row_keys) <> cardinality(changes.map_ids)
        or cardinality(changes.row_keys) <> cardinality(changes.tenants) as is_uneven,
        {{ trueup.text_digest(trueup.list_text([
            'changes.run_id',
            'changes.batch_id',
            'changes.entry_id',
            'changes.action',
            'extract(epoch from changes.run_at)',
            'cast(changes.row_keys as text)',
            'cast(changes.tenants as text)',
            'cast(changes.map_ids as text)',
            'cast(changes.others_changed as text)',
        ]) | indent(4)) | indent(8) }} as entry_digest
    from changes
    left join run_batches
        on changes.batch_id = run_batches.batch_id
    where
        changes.run_id = {{ run_id }}
        or run_batches.batch_id is not null
),

audited_batches as (
    select
        entry_digests.batch_id,
        sum(entry_digests.rows_audited) as rows_audited,
        bool_or(entry_digests.is_uneven) as is_uneven,
        string_agg(
            entry_digests.entry_digest, '' order by entry_digests.entry_id
        ) as entry_list
    from entry_digests
    group by entry_digests.batch_id
),

batch_digests as {{ trueup.computed_once() }} (
    select
        coalesce(run_batches.batch_id, audited_batches.batch_id) as batch_id,
        run_batches.table_name,
        run_batches.column_name,
        run_batches.batch_id is not null as is_known,
        coalesce(run_batches.rows_updated, 0) as rows_updated,
        coalesce(audited_batches.rows_audited, 0) as rows_audited,
        coalesce(audited_batches.is_uneven, false) as is_uneven,
        run_batches.audit_digest as recorded_digest,
        {{ trueup.text_digest(trueup.list_text([
            'run_batches.table_name',
            'run_batches.column_name',
            'audited_batches.entry_list',
        ]) | indent(4)) | indent(8) }} as audit_digest
    from run_batches
    full outer join audited_batches
        on run_batches.batch_id = audited_batches.batch_id
),

batch_lists as (
    select
        string_agg(
            cast(batch_digests.batch_id as text) || ' ' || batch_digests.audit_digest,
            ', ' order by batch_digests.batch_id
        ) as batch_list
    from batch_digests
),

value_lists as (
    select
        jsonb_agg(
            jsonb_build_array(
                value_map.table_name,
                value_map.column_name,
                value_map.map_id,
                value_map.value_before,
                value_map.value_after
            )
            order by
                {{ trueup.binary_text('value_map.table_name') }},
                {{ trueup.binary_text('value_map.column_name') }},
                value_map.map_id,
                {{ trueup.binary_text('value_map.value_before') }}
        ) as value_list
    from value_map
    where
        value_map.run_id = {{ run_id }}
        and value_map.map_id is not null
),

run_digests as (
    select
        {{ trueup.text_digest(trueup.list_text([
            'runs.kind',
            'runs.plan_sha256',
            'runs.sql_sha256',
            "runs.options ->> 'planned_snapshot'",
            'batch_lists.batch_list',
            'value_lists.value_list',
        ]) | indent(4)) | indent(8) }} as audit_digest
    from {{ ref('migration_runs').render() }} as runs
    cross join batch_lists
    cross join value_lists
    where runs.run_id = {{ run_id }}
)
{%- endmacro -%}
