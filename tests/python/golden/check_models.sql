control as (
    select * from stage_migration_control
),

mart as not materialized (
    select * from fct_deals
),

vocabulary_keys as (
    select * from int_vocabulary_keys
),

resolved_values as (
    select * from int_values
),

paired_rows as not materialized (
    select
        mart.deal_id as mart_key,
        cast(application.fund_id as text) collate "C" as tenant,
        cast(application.stage as text) collate "C" as raw_value,
        cast(mart.stage_raw as text) collate "C" as mart_raw,
        cast(mart.stage as text) collate "C" as mart_value
    from public.deals as application
    left join mart
        on application.id = mart.deal_id
    where (
        (select request.tenants from request) is null
        or array_position(
            (select request.tenants from request),
            cast(application.fund_id as text) collate "C"
        ) is not null
    )
),

compared_rows as not materialized (
    select
        paired_rows.*,
        paired_rows.mart_key is null
        or (paired_rows.mart_raw is distinct from paired_rows.raw_value) as is_behind
    from paired_rows
),

counted_pairs as materialized (
    select
        compared_rows.raw_value,
        compared_rows.mart_value,
        compared_rows.is_behind,
        count(*) as row_count,
        count(compared_rows.mart_key) as mart_rows
    from compared_rows
    group by
        compared_rows.raw_value,
        compared_rows.mart_value,
        compared_rows.is_behind
),

mart_totals as (
    select count(*) as row_count
    from mart
    where (
        (select request.tenants from request) is null
        or array_position(
            (select request.tenants from request),
            cast(mart.fund_id as text) collate "C"
        ) is not null
    )
),

canonical_values as (
    select vocabulary_keys.canonical_value
    from vocabulary_keys
    where vocabulary_keys.vocabulary = 'stage'
    group by vocabulary_keys.canonical_value
),

-- what a value means: a canonical one itself, any other what dbt has resolved it to
judged_pairs as (
    select
        counted_pairs.*,
        coalesce(canonical_values.canonical_value, resolved_values.canonical_value)
            as expected_value
    from counted_pairs
    left join canonical_values
        on counted_pairs.raw_value = canonical_values.canonical_value
    left join resolved_values
        on
            counted_pairs.raw_value = resolved_values.raw_value
            and resolved_values.vocabulary = 'stage'
),

wrong_pairs as materialized (
    select * from judged_pairs
    where
        not judged_pairs.is_behind
        and judged_pairs.mart_value is distinct from judged_pairs.expected_value
),

wrong_totals as (
    select coalesce(sum(wrong_pairs.row_count), 0) as row_count
    from wrong_pairs
),

-- not looked for where nothing is wrong
wrong_rows as (
    select
        compared_rows.mart_key,
        compared_rows.tenant,
        compared_rows.raw_value,
        compared_rows.mart_value,
        'deals.stage, row ' || cast(compared_rows.mart_key as text)
        || ': ' || coalesce('''' || compared_rows.raw_value || '''', 'NULL')
        || ' in the table, fct_deals shows '
        || coalesce('''' || compared_rows.mart_value || '''', 'nothing') || ', not '
        || coalesce('''' || wrong_pairs.expected_value || '''', 'nothing') as message
    from compared_rows
    inner join wrong_pairs
        on
            coalesce(compared_rows.raw_value, '') = coalesce(wrong_pairs.raw_value, '')
            and compared_rows.raw_value is not distinct from wrong_pairs.raw_value
            and compared_rows.mart_value is not distinct from wrong_pairs.mart_value
    where
        not compared_rows.is_behind
        and (select wrong_totals.row_count from wrong_totals) > 0
    order by compared_rows.mart_key
    limit (select request.most from request)
),

wrong_values as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'fail',
                'message',
                translate(wrong_rows.message, E'\t\n\x0b\f\r', '␉␊␋␌␍'),
                'table_name', 'deals',
                'column_name', 'stage',
                'row_key', cast(wrong_rows.mart_key as text),
                'tenant', wrong_rows.tenant,
                'mart', 'fct_deals',
                'value_in_table', wrong_rows.raw_value,
                'value_in_mart', wrong_rows.mart_value
            )
            order by wrong_rows.mart_key
        ) as offenders
    from wrong_rows
),

pair_totals as (
    select
        coalesce(sum(counted_pairs.row_count), 0) as row_count,
        coalesce(sum(counted_pairs.row_count) filter (where counted_pairs.is_behind), 0)
        -- rows of the mart whose row of the table is gone
        + greatest(
            max(mart_totals.row_count) - coalesce(sum(counted_pairs.mart_rows), 0), 0
        ) as rows_behind
    from mart_totals
    left join counted_pairs on true
),

run_columns as (
    select * from control
    where
        control.run_id = (select request.run_id from request)
        and control.table_name = 'deals'
        and control.column_name = 'stage'
        and (
            (select request.table_names from request) is null
            or array_position(
                (select request.table_names from request),
                control.table_name
            ) is not null
        )
),

results as (
    select
        'models_agree' as check_id,
        case when wrong_totals.row_count > 0 then 'fail' else 'pass' end as status,
        'deals.stage: fct_deals shows what the values of '
        || cast(pair_totals.row_count as text) || ' rows mean' as expected,
        'deals.stage: '
        || cast(wrong_totals.row_count as text) || ' rows show something else, '
        || cast(pair_totals.rows_behind as text) || ' are behind' as actual,
        coalesce(wrong_values.offenders, cast('[]' as jsonb))
        || case
            when
                pair_totals.rows_behind > 0
                and wrong_totals.row_count < coalesce(request.most, wrong_totals.row_count + 1)
                then
                    jsonb_build_array(
                        jsonb_build_object(
                            'status', 'info',
                            'message',
                            'deals.stage, fct_deals: '
                            || cast(pair_totals.rows_behind as text)
                            || ' rows behind; dbt build',
                            'table_name', 'deals',
                            'column_name', 'stage',
                            'mart', 'fct_deals',
                            'rows', pair_totals.rows_behind
                        )
                    )
            else cast('[]' as jsonb)
        end as offenders,
        cast(
            wrong_totals.row_count + case when pair_totals.rows_behind > 0 then 1 else 0 end
            as bigint
        ) as offender_count
    from request
    cross join run_columns
    cross join pair_totals
    cross join wrong_totals
    cross join wrong_values
)

select * from results
