{#-
    The check weight_sums, one row, as CTEs and the last select of a statement that begins with
    verification_request(): the live documents have weights that sum to 1, and the mart has lost no
    name: the weights of its values add up to those of the names. Both figures are of the document
    as the mart last read it, so a mart that is only behind does not fail.
    check_weights() → stage_weights as ( ... ), ... select * from results
-#}
{%- macro check_weights() -%}
{%- if trueup.managed_documents() -%}
{%- set epsilon = trueup.requested('epsilon') -%}
stage_weights as (
    select * from {{ ref('int_stage_weights') }}
),

allocations as (
    select * from {{ ref('fct_stage_allocations') }}
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
        {{ trueup.of_request('stage_weights.owner_table', 'tenant', 'stage_weights')
            | indent(8) }}
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
        {{ trueup.weight_issue('owners', epsilon) | indent(8) }} as weight_issue,
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
    limit {{ trueup.requested('most') }}
),

shown_offenders as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'fail',
                'message',
                {{ trueup.one_line('offending_owners.message') }},
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
        ) as sample
    from offending_owners
),

counted_owners as (
    select
        count(*) as owner_total,
        count(coalesce(judged_owners.weight_issue, judged_owners.mart_issue)) as owners_wrong
    from judged_owners
),

results as (
    select
        'weight_sums' as code,
        case when counted_owners.owners_wrong = 0 then 'ok' else 'fail' end as status,
        cast(counted_owners.owner_total as text)
        || ' documents whose weights sum to 1 within ' || cast(request.epsilon as text)
        || ', equal names added' as expected,
        cast(counted_owners.owner_total - counted_owners.owners_wrong as text)
        || ' documents'
        || case
            when counted_owners.owners_wrong > 0
                then
                    ', and ' || cast(counted_owners.owners_wrong as text)
                    || ' whose weights are wrong'
            else ''
        end as found,
        coalesce(shown_offenders.sample, cast('[]' as jsonb)) as sample,
        counted_owners.owners_wrong as rows
    from request
    cross join counted_owners
    cross join shown_offenders
)
{%- else -%}
results as (
    select
        'weight_sums' as code,
        'ok' as status,
        'weights of every document sum to 1' as expected,
        'no document is managed' as found,
        cast('[]' as jsonb) as sample,
        cast(0 as bigint) as rows
    from request
)
{%- endif %}

select * from results
{%- endmacro -%}
