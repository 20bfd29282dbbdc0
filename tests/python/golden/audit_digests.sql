run_batches as (
    select * from batches
    where batches.run_id = $1
),

entry_digests as materialized (
    select
        changes.batch_id,
        cardinality(changes.row_keys) as rows_audited,
        cardinality(changes.row_keys) <> cardinality(changes.map_ids)
        or cardinality(changes.row_keys) <> cardinality(changes.tenants) as is_uneven,
        encode(
            sha256(convert_to(cast(
                jsonb_build_array(
                    changes.run_id,
                    changes.batch_id,
                    changes.action,
                    extract(epoch from changes.run_at),
                    cast(changes.row_keys as text),
                    cast(changes.tenants as text),
                    cast(changes.map_ids as text),
                    cast(changes.others_changed as text)
                ) as text
            ), 'UTF8')),
            'hex'
        ) as entry_digest
    from changes
    left join run_batches
        on changes.batch_id = run_batches.batch_id
    where
        changes.run_id = $1
        or run_batches.batch_id is not null
),

audited_batches as (
    select
        entry_digests.batch_id,
        sum(entry_digests.rows_audited) as rows_audited,
        bool_or(entry_digests.is_uneven) as is_uneven,
        string_agg(
            entry_digests.entry_digest, '' order by entry_digests.entry_digest collate "C"
        ) as entry_list
    from entry_digests
    group by entry_digests.batch_id
),

batch_digests as materialized (
    select
        coalesce(run_batches.batch_id, audited_batches.batch_id) as batch_id,
        run_batches.table_name,
        run_batches.column_name,
        run_batches.batch_id is not null as is_known,
        coalesce(run_batches.rows_updated, 0) as rows_updated,
        coalesce(audited_batches.rows_audited, 0) as rows_audited,
        coalesce(audited_batches.is_uneven, false) as is_uneven,
        run_batches.audit_digest as recorded_digest,
        encode(
            sha256(convert_to(cast(
                jsonb_build_array(
                    run_batches.table_name,
                    run_batches.column_name,
                    audited_batches.entry_list
                ) as text
            ), 'UTF8')),
            'hex'
        ) as audit_digest
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
                cast(value_map.table_name as text) collate "C",
                cast(value_map.column_name as text) collate "C",
                value_map.map_id,
                cast(value_map.value_before as text) collate "C"
        ) as value_list
    from value_map
    where
        value_map.run_id = $1
        and value_map.map_id is not null
),

run_digests as (
    select
        encode(
            sha256(convert_to(cast(
                jsonb_build_array(
                    batch_lists.batch_list,
                    value_lists.value_list
                ) as text
            ), 'UTF8')),
            'hex'
        ) as audit_digest
    from batch_lists
    cross join value_lists
)
