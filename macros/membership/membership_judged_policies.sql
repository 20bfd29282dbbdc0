{#-
    The end of the checks of policies, as CTEs; no comma at the end. Expects the CTE
    compared(policies.*, value_found).
-#}
{%- macro membership_judged_policies(most) -%}
told_policies as (
    select
        compared.*,
        case
            when compared.is_required and compared.is_unfilled
                then 'is required and was not filled in'
            when compared.is_unfilled and compared.value_found is null then ''
            when compared.value_found is null then 'is missing'
            when compared.value_found <> compared.value
                then
                    'is ' || cast(compared.value_found as text) || ', captured was '
                    || cast(compared.value as text)
            else ''
        end as lack
    from compared
),

offenders as (
    select
        'fail' as status,
        'policy' as entity,
        told_policies.name as source_id,
        cast(null as text) as target_id,
        'policy ' || told_policies.name || ' ' || told_policies.lack as message
    from told_policies
    where told_policies.lack <> ''
),

totals as (
    select
        count(*) as policy_total,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', 'info',
                    'policy', told_policies.name,
                    'source', told_policies.source,
                    'required', told_policies.is_required,
                    'result', coalesce(nullif(told_policies.lack, ''), 'as captured')
                )
                order by told_policies.name
            ),
            '[]'
        ) as counted
    from told_policies
),

{{ trueup.membership_listed(most) }},

judged as (
    select
        case
            when totals.policy_total = 0 then 'info'
            when listed.row_total > 0 then 'fail'
            else 'ok'
        end as status,
        '' as outcome,
        array[cast(totals.policy_total as text), cast(listed.row_total as text)] as arguments,
        cast(totals.policy_total as text) as expected,
        cast(totals.policy_total - listed.row_total as text) as found,
        listed.row_total as rows,
        listed.sample || totals.counted as sample
    from totals
    cross join listed
)
{%- endmacro -%}
