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

quarantine as (
    select * from {{ ref('migration_quarantine') }}
),

refused_rows as (
    select
        quarantine.batch_id,
        count(*) as row_count
    from request
    inner join quarantine
        on request.run_id = quarantine.run_id
    group by quarantine.batch_id
),

batch_states as (
    select
        batches.*,
        greatest(batches.rows_failed, coalesce(refused_rows.row_count, 0)) as rows_refused
    from request
    inner join batches
        on request.run_id = batches.run_id
    left join refused_rows
        on batches.batch_id = refused_rows.batch_id
    where
        (
            request.table_names is null
            or array_position(request.table_names, batches.table_name) is not null
        )
        -- only the batches of a run by tenant have a tenant
        and (
            request.tenants is null
            or batches.fund_id is null
            or array_position(request.tenants, batches.fund_id) is not null
        )
),

run_batches as (
    select
        batch_states.*,
        batch_states.status = 'completed' and batch_states.rows_refused = 0 as is_fine
    from batch_states
),

counted_batches as (
    select
        count(*) as batch_total,
        count(*) filter (where run_batches.status = 'completed') as batches_completed,
        count(*) filter (where not run_batches.is_fine) as batches_wrong,
        coalesce(sum(run_batches.rows_refused), 0) as rows_failed
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
                when run_batches.rows_refused > 0
                    then ', ' || cast(run_batches.rows_refused as text) || ' rows quarantined'
                else ''
            end,
            'table_name', run_batches.table_name,
            'column_name', run_batches.column_name,
            'tenant', run_batches.fund_id,
            'batch_id', run_batches.batch_id,
            'rows', run_batches.rows_refused
        ) as offender
    from run_batches
    where not run_batches.is_fine
    order by run_batches.batch_id
    limit {{ trueup.requested('most') | indent(4) }}
),

results as (
    select
        'batch_tracking' as code,
        case when counted_batches.batches_wrong = 0 then 'ok' else 'fail' end as status,
        cast(counted_batches.batch_total as text)
        || ' batches completed, 0 rows quarantined' as expected,
        cast(counted_batches.batches_completed as text) || ' batches completed, '
        || cast(counted_batches.rows_failed as text) || ' rows quarantined' as found,
        coalesce(
            (
                select
                    jsonb_agg(
                        shown_batches.offender order by shown_batches.batch_id
                    ) as sample
                from shown_batches
            ),
            cast('[]' as jsonb)
        ) as sample,
        counted_batches.batches_wrong as rows
    from request
    cross join counted_batches
)

select * from results
{%- endmacro -%}
