batches as (
    select * from stage_migration_batches
),

changes as (
    select * from stage_normalization_changes
),

value_map as (
    select * from migration_value_map
),

run_batches as (
    select * from batches
    where batches.run_id = (select request.run_id from request)
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
        changes.run_id = (select request.run_id from request)
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
        value_map.run_id = (select request.run_id from request)
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
),

ended_runs as (
    select
        request.*,
        run_digests.audit_digest as digest_now,
        request.finished_at is not null as has_ended
    from request
    cross join run_digests
),

judged_batches as (
    select
        batch_digests.*,
        not batch_digests.is_known
        or batch_digests.is_uneven
        or batch_digests.rows_updated <> batch_digests.rows_audited as is_miscounted,
        ended_runs.has_ended
        and coalesce(batch_digests.recorded_digest <> batch_digests.audit_digest, true)
            as is_altered
    from batch_digests
    cross join ended_runs
),

counted_batches as (
    select
        count(*) filter (where judged_batches.is_known) as batch_total,
        coalesce(sum(judged_batches.rows_updated), 0) as rows_updated,
        coalesce(sum(judged_batches.rows_audited), 0) as rows_audited,
        count(*) filter (
            where judged_batches.is_miscounted or judged_batches.is_altered
        ) as offender_count
    from judged_batches
),

judged_runs as (
    select
        ended_runs.*,
        counted_batches.*,
        ended_runs.has_ended
        and coalesce(ended_runs.audit_digest <> ended_runs.digest_now, true) as is_altered
    from ended_runs
    cross join counted_batches
),

found_offenders as (
    select
        cast(judged_batches.batch_id as bigint) as batch_id,
        jsonb_build_object(
            'status', 'fail',
            'message',
            coalesce(judged_batches.table_name || '.' || judged_batches.column_name || ', ', '')
            || 'batch ' || cast(judged_batches.batch_id as text) || ': '
            || concat_ws(
                '; ',
                case when not judged_batches.is_known then 'the run has no such batch' end,
                case
                    when judged_batches.rows_updated <> judged_batches.rows_audited
                        then
                            cast(judged_batches.rows_updated as text) || ' rows counted, '
                            || cast(judged_batches.rows_audited as text) || ' rows audited'
                end,
                case
                    when judged_batches.is_uneven
                        then 'an entry has not as many keys as tenants and changes'
                end,
                case
                    when judged_batches.is_altered
                        then 'its audit is not what it was when the run ended'
                end
            ),
            'table_name', judged_batches.table_name,
            'column_name', judged_batches.column_name,
            'batch_id', judged_batches.batch_id,
            'rows', judged_batches.rows_audited,
            'rows_counted', judged_batches.rows_updated,
            'digest_recorded', judged_batches.recorded_digest,
            'digest_now', judged_batches.audit_digest
        ) as offender
    from judged_batches
    where
        judged_batches.is_miscounted
        or judged_batches.is_altered
    union all
    select
        cast(null as bigint) as batch_id,
        jsonb_build_object(
            'status', 'fail',
            'message',
            'run ' || left(cast(judged_runs.run_id as text), 8)
            || ': its audit, batches or value map are not those of its end, digest '
            || coalesce(judged_runs.audit_digest, 'removed'),
            'digest_recorded', judged_runs.audit_digest,
            'digest_now', judged_runs.digest_now
        ) as offender
    from judged_runs
    where judged_runs.is_altered
),

shown_offenders as (
    select
        found_offenders.batch_id,
        found_offenders.offender
    from found_offenders
    order by found_offenders.batch_id nulls first
    limit (select request.most from request)
),

results as (
    select
        'audit_consistency' as check_id,
        case
            when judged_runs.offender_count > 0 or judged_runs.is_altered then 'fail'
            else 'pass'
        end as status,
        cast(judged_runs.rows_updated as text) || ' rows audited in '
        || cast(judged_runs.batch_total as text) || ' batches, digest '
        || coalesce(judged_runs.audit_digest, 'not recorded') as expected,
        cast(judged_runs.rows_audited as text) || ' rows audited in '
        || cast(judged_runs.batch_total as text) || ' batches, digest '
        || judged_runs.digest_now as actual,
        coalesce(
            (
                select
                    jsonb_agg(
                        shown_offenders.offender order by shown_offenders.batch_id nulls first
                    ) as offenders
                from shown_offenders
            ),
            cast('[]' as jsonb)
        ) as offenders,
        judged_runs.offender_count
        + case when judged_runs.is_altered then 1 else 0 end as offender_count
    from judged_runs
)

select * from results
