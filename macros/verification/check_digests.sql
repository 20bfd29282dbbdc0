{#-
    The part of the check audit_consistency that is about the run, one row, as CTEs and the last
    select of a statement that begins with verification_request(): the count of every batch equals
    its rows in the audit, the plan still has its digest, and the audit the one that was stored and
    printed when the run ended, which covers that of the plan. Both are about the whole run: tables
    and tenants of the request do not narrow it.
    check_digests() → batches as ( ... ), ... select * from results
-#}
{%- macro check_digests() -%}
{%- set run_id = trueup.requested('run_id') | indent(4) -%}
batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

{{ trueup.audit_digests(run_id) }},

{{ trueup.plan_digests(run_id) }},

ended_runs as (
    select
        request.*,
        run_digests.audit_digest as digest_now,
        plan_digests.plan_sha256 as plan_now,
        request.finished_at is not null as has_ended
    from request
    cross join run_digests
    cross join plan_digests
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
        ) as batches_wrong
    from judged_batches
),

judged_runs as (
    select
        ended_runs.*,
        counted_batches.*,
        ended_runs.plan_now <> ended_runs.plan_sha256 as is_replanned,
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
    {%- for is_wrong, words, recorded, now in [
        ('is_altered', 'audit, batches or value map are not those of its end', 'audit_digest',
            'digest_now'),
        ('is_replanned', 'decisions, counts or batches are not those of its plan', 'plan_sha256',
            'plan_now'),
    ] %}
    union all
    select
        cast(null as bigint) as batch_id,
        jsonb_build_object(
            'status', 'fail',
            'message',
            'run ' || left(cast(judged_runs.run_id as text), 8)
            || ': its {{ words }}, digest '
            || coalesce(judged_runs.{{ recorded }}, 'removed'),
            'digest_recorded', judged_runs.{{ recorded }},
            'digest_now', judged_runs.{{ now }}
        ) as offender
    from judged_runs
    where judged_runs.{{ is_wrong }}
    {%- endfor %}
),

shown_offenders as (
    select
        found_offenders.batch_id,
        found_offenders.offender
    from found_offenders
    order by found_offenders.batch_id nulls first
    limit {{ trueup.requested('most') | indent(4) }}
),

results as (
    select
        'audit_consistency' as code,
        case
            when
                judged_runs.batches_wrong > 0 or judged_runs.is_altered or judged_runs.is_replanned
                then 'fail'
            else 'ok'
        end as status,
        cast(judged_runs.rows_updated as text) || ' rows audited in '
        || cast(judged_runs.batch_total as text) || ' batches, digest '
        || coalesce(judged_runs.audit_digest, 'not recorded') as expected,
        cast(judged_runs.rows_audited as text) || ' rows audited in '
        || cast(judged_runs.batch_total as text) || ' batches, digest '
        || judged_runs.digest_now as found,
        coalesce(
            (
                select
                    jsonb_agg(
                        shown_offenders.offender order by shown_offenders.batch_id nulls first
                    ) as sample
                from shown_offenders
            ),
            cast('[]' as jsonb)
        ) as sample,
        judged_runs.batches_wrong
        + case when judged_runs.is_altered then 1 else 0 end
        + case when judged_runs.is_replanned then 1 else 0 end as rows
    from judged_runs
)

select * from results
{%- endmacro -%}
