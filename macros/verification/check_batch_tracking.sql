{#-
    The check batch_tracking, one row, as CTEs and the last select of a statement that begins with
    verification_request(): every batch of the run is completed, none failed, nothing is
    quarantined.
    check_batch_tracking() → batches as ( ... ), ... select * from results
-#}
{%- macro check_batch_tracking() -%}
batches as (
    select * from {{ ref('stage_migration_batches') }}
),

run_batches as (
    select
        batches.*,
        batches.status = 'completed' and batches.rows_failed = 0 as is_fine
    from request
    inner join batches
        on request.run_id = batches.run_id
    where
        request.table_names is null
        or array_position(request.table_names, batches.table_name) is not null
),

counted_batches as (
    select
        count(*) as batch_total,
        count(*) filter (where run_batches.status = 'completed') as batches_completed,
        count(*) filter (where not run_batches.is_fine) as offender_count,
        coalesce(sum(run_batches.rows_failed), 0) as rows_failed
    from run_batches
),

shown_batches as (
    select
        run_batches.batch_id,
        jsonb_build_object(
            'status', 'fail',
            'message',
            run_batches.table_name || '.' || run_batches.column_name
            || ', batch ' || cast(run_batches.batch_id as text) || ' is ' || run_batches.status
            || coalesce(': ' || {{ trueup.one_line('run_batches.error_message') }}, '')
            || case
                when run_batches.rows_failed > 0
                    then ', ' || cast(run_batches.rows_failed as text) || ' rows quarantined'
                else ''
            end,
            'table_name', run_batches.table_name,
            'column_name', run_batches.column_name,
            'tenant', run_batches.fund_id,
            'batch_id', run_batches.batch_id,
            'rows', run_batches.rows_failed
        ) as offender
    from run_batches
    where not run_batches.is_fine
    order by run_batches.batch_id
    limit {{ trueup.requested('most') | indent(4) }}
),

results as (
    select
        'batch_tracking' as check_id,
        case when counted_batches.offender_count = 0 then 'pass' else 'fail' end as status,
        cast(counted_batches.batch_total as text)
        || ' batches completed, 0 rows quarantined' as expected,
        cast(counted_batches.batches_completed as text) || ' batches completed, '
        || cast(counted_batches.rows_failed as text) || ' rows quarantined' as actual,
        coalesce(
            (
                select
                    jsonb_agg(
                        shown_batches.offender order by shown_batches.batch_id
                    ) as offenders
                from shown_batches
            ),
            cast('[]' as jsonb)
        ) as offenders,
        counted_batches.offender_count
    from request
    cross join counted_batches
)

select * from results
{%- endmacro -%}
