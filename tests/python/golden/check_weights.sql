stage_weights as (
    select * from int_stage_weights
),

resolved_values as (
    select * from int_values
),

allocations as (
    select * from fct_stage_allocations
),

-- the documents as they are now
live_weights as (
    select
        stage_weights.*,
        resolved_values.canonical_value,
        -- names that mean one stage meet here, as in the mart
        coalesce(
            resolved_values.canonical_value, '?' || stage_weights.stage_name, ''
        ) as stage_group
    from stage_weights
    left join resolved_values
        on
            stage_weights.vocabulary = resolved_values.vocabulary
            and stage_weights.stage_name = resolved_values.raw_value
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
),

owners as (
    select
        live_weights.owner_table,
        live_weights.owner_column,
        live_weights.owner_key,
        max(live_weights.tenant) as tenant,
        max(live_weights.updated_at) as updated_at,
        count(live_weights.stage_name) as name_total,
        count(*) filter (where live_weights.weight is null) as names_without_weight,
        min(live_weights.weight) as smallest_weight,
        sum(live_weights.weight) as weight_sum
    from live_weights
    group by
        live_weights.owner_table,
        live_weights.owner_column,
        live_weights.owner_key
),

-- where the mart shows the document as it is now, not as it was
shown_owners as (
    select
        owners.owner_table,
        owners.owner_column,
        owners.owner_key
    from owners
    inner join allocations
        on
            owners.owner_table = allocations.owner_table
            and owners.owner_column = allocations.owner_column
            and owners.owner_key = allocations.owner_key
    group by
        owners.owner_table,
        owners.owner_column,
        owners.owner_key,
        owners.updated_at
    having max(allocations.updated_at) = owners.updated_at
),

-- what the document says of each stage, and what the mart does
said_weights as (
    select
        live_weights.owner_table,
        live_weights.owner_column,
        live_weights.owner_key,
        live_weights.stage_group,
        live_weights.weight as live_weight,
        cast(null as numeric) as shown_weight
    from live_weights
    union all
    select
        allocations.owner_table,
        allocations.owner_column,
        allocations.owner_key,
        coalesce(allocations.stage, '?' || allocations.stage_names, '') as stage_group,
        cast(null as numeric) as live_weight,
        allocations.weight as shown_weight
    from allocations
),

compared_stages as (
    select
        said_weights.owner_table,
        said_weights.owner_column,
        said_weights.owner_key,
        said_weights.stage_group,
        -- as many decimals as the mart keeps
        cast(sum(said_weights.live_weight) as numeric(28, 10)) as live_weight,
        sum(said_weights.shown_weight) as shown_weight
    from said_weights
    inner join shown_owners
        on
            said_weights.owner_table = shown_owners.owner_table
            and said_weights.owner_column = shown_owners.owner_column
            and said_weights.owner_key = shown_owners.owner_key
    group by
        said_weights.owner_table,
        said_weights.owner_column,
        said_weights.owner_key,
        said_weights.stage_group
),

misread_owners as (
    select
        compared_stages.owner_table,
        compared_stages.owner_column,
        compared_stages.owner_key,
        'the mart shows another weight: ' || string_agg(
            ltrim(compared_stages.stage_group, '?') || ' '
            || coalesce(cast(trim_scale(compared_stages.shown_weight) as text), 'none')
            || ', not '
            || coalesce(cast(trim_scale(compared_stages.live_weight) as text), 'none'),
            '; ' order by compared_stages.stage_group
        ) as issue
    from compared_stages
    where compared_stages.live_weight is distinct from compared_stages.shown_weight
    group by
        compared_stages.owner_table,
        compared_stages.owner_column,
        compared_stages.owner_key
),

judged_owners as (
    select
        owners.*,
        coalesce(
            case
                when owners.name_total = 0 then 'no weights'
                when owners.names_without_weight > 0 then 'a weight is not a number'
                when owners.smallest_weight < 0 then 'a weight is negative'
                when owners.weight_sum = 0 then 'all weights are zero'
                when abs(owners.weight_sum - 1) > (select request.epsilon from request)
                    then 'weights do not sum to 1'
            end,
            misread_owners.issue
        ) as issue
    from owners
    left join misread_owners
        on
            owners.owner_table = misread_owners.owner_table
            and owners.owner_column = misread_owners.owner_column
            and owners.owner_key = misread_owners.owner_key
),

offending_owners as (
    select
        judged_owners.*,
        judged_owners.owner_table || '.' || judged_owners.owner_column
        || ', row ' || judged_owners.owner_key || ': ' || judged_owners.issue
        || coalesce(', their sum is ' || cast(trim_scale(judged_owners.weight_sum) as text), '')
            as message
    from judged_owners
    where judged_owners.issue is not null
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
        count(judged_owners.issue) as offender_count
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
        || ' documents, and ' || cast(counted_owners.offender_count as text)
        || ' whose weights are wrong' as actual,
        coalesce(shown_offenders.offenders, cast('[]' as jsonb)) as offenders,
        counted_owners.offender_count
    from request
    cross join counted_owners
    cross join shown_offenders
)

select * from results
