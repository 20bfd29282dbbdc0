stage_weights as (
    select * from int_stage_weights
),

allocations as (
    select * from fct_stage_allocations
),

-- the documents as they are now
owners as (
    select
        stage_weights.owner_table,
        stage_weights.owner_column,
        stage_weights.owner_key,
        max(stage_weights.tenant) as tenant,
        count(stage_weights.stage_name) as name_total,
        count(*) filter (where stage_weights.weight is null) as names_without_weight,
        min(stage_weights.weight) as smallest_weight,
        sum(stage_weights.weight) as weight_sum
    from stage_weights
    where
        (
            (select request.table_names from request) is null
            or array_position(
                (select request.table_names from request),
                stage_weights.owner_table
            ) is not null
        )
        and (
            (select request.tenants from request) is null
            or array_position(
                (select request.tenants from request),
                cast(stage_weights.tenant as text) collate "C"
            ) is not null
        )
    group by
        stage_weights.owner_table,
        stage_weights.owner_column,
        stage_weights.owner_key
),

-- the documents as the mart saw them
shown_owners as (
    select
        allocations.owner_table,
        allocations.owner_column,
        allocations.owner_key,
        coalesce(sum(allocations.weight), 0) as stage_sum,
        max(allocations.owner_weight_sum) as name_sum,
        -- the last decimal that the mart keeps
        count(*) * 0.0000000001 as rounding
    from allocations
    group by
        allocations.owner_table,
        allocations.owner_column,
        allocations.owner_key
),

judged_owners as (
    select
        owners.*,
        case
            when owners.name_total = 0 then 'no weights'
            when owners.names_without_weight > 0 then 'a weight is not a number'
            when owners.smallest_weight < 0 then 'a weight is negative'
            when owners.weight_sum = 0 then 'all weights are zero'
            when abs(owners.weight_sum - 1) > (select request.epsilon from request)
                then 'weights do not sum to 1'
        end as weight_issue,
        case
            when abs(shown_owners.stage_sum - shown_owners.name_sum) > shown_owners.rounding
                then
                    'the values of the mart weigh '
                    || cast(trim_scale(shown_owners.stage_sum) as text)
                    || ' together, the names that they were added up from '
                    || cast(trim_scale(shown_owners.name_sum) as text)
        end as mart_issue
    from owners
    left join shown_owners
        on
            owners.owner_table = shown_owners.owner_table
            and owners.owner_column = shown_owners.owner_column
            and owners.owner_key = shown_owners.owner_key
),

offending_owners as (
    select
        judged_owners.*,
        coalesce(judged_owners.weight_issue, judged_owners.mart_issue) as issue,
        judged_owners.owner_table || '.' || judged_owners.owner_column
        || ', row ' || judged_owners.owner_key || ': '
        || coalesce(
            judged_owners.weight_issue
            || coalesce(
                ', their sum is ' || cast(trim_scale(judged_owners.weight_sum) as text), ''
            ),
            judged_owners.mart_issue
        ) as message
    from judged_owners
    where coalesce(judged_owners.weight_issue, judged_owners.mart_issue) is not null
    order by
        judged_owners.owner_table,
        judged_owners.owner_column,
        judged_owners.owner_key
    limit (select request.most from request)
),

shown_offenders as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'fail',
                'message',
                translate(offending_owners.message, E'\t\n\x0b\f\r', '␉␊␋␌␍'),
                'table_name', offending_owners.owner_table,
                'column_name', offending_owners.owner_column,
                'row_key', offending_owners.owner_key,
                'tenant', offending_owners.tenant,
                'weight_sum', offending_owners.weight_sum,
                'issue', offending_owners.issue
            )
            order by
                offending_owners.owner_table,
                offending_owners.owner_column,
                offending_owners.owner_key
        ) as offenders
    from offending_owners
),

counted_owners as (
    select
        count(*) as owner_total,
        count(coalesce(judged_owners.weight_issue, judged_owners.mart_issue)) as offender_count
    from judged_owners
),

results as (
    select
        'weight_sums' as check_id,
        case when counted_owners.offender_count = 0 then 'pass' else 'fail' end as status,
        cast(counted_owners.owner_total as text)
        || ' documents whose weights sum to 1 within ' || cast(request.epsilon as text)
        || ', equal names added' as expected,
        cast(counted_owners.owner_total - counted_owners.offender_count as text)
        || ' documents'
        || case
            when counted_owners.offender_count > 0
                then
                    ', and ' || cast(counted_owners.offender_count as text)
                    || ' whose weights are wrong'
            else ''
        end as actual,
        coalesce(shown_offenders.offenders, cast('[]' as jsonb)) as offenders,
        counted_owners.offender_count
    from request
    cross join counted_owners
    cross join shown_offenders
)

select * from results
