{#-
    The data test of one check of `trueup verify`: the same SQL, for the newest migration that has
    come to its end. One row per offender that warns or fails; status is that of the check for the
    table and column, which decides whether dbt warns or fails.
    verification_test('row_counts') → with request as ( ... ), ... select * from final
-#}
{%- macro verification_test(check_id) -%}
{%- set of_run = {
    'batch_tracking': [trueup.check_batch_tracking],
    'audit_consistency': [trueup.check_digests],
    'weight_sums': [trueup.check_weights],
} -%}
{%- set of_column = {
    'canonical_values': [trueup.check_values],
    'null_integrity': [trueup.check_values, trueup.check_changes],
    'row_counts': [trueup.check_values, trueup.check_changes],
    'audit_consistency': [trueup.check_changes],
    'sample_inspection': [trueup.check_sample],
    'per_fund_breakdown': [trueup.check_values],
    'other_columns_untouched': [trueup.check_others],
    'models_agree': [trueup.check_models],
} -%}
{#- dbt skips a model if a test of its parents fails; this test has all of them as parents. No
    model of the ledger has this parent, and people need those most when a check fails -#}
{%- do ref('int_vocabulary_keys') -%}
{%- set parts = [] -%}
{%- for check in of_run.get(check_id, []) -%}
    {%- do parts.append(check()) -%}
{%- endfor -%}
{%- for entry in trueup.managed_columns() if entry.mart or check_id != 'models_agree' -%}
    {%- for check in of_column.get(check_id, []) -%}
        {%- do parts.append(check(entry)) -%}
    {%- endfor -%}
{%- endfor -%}
with {{ trueup.verification_request(true) }},
{%- for part in parts %}

part_{{ loop.index }} as (
    with {{ part | indent(4) }}
),
{%- endfor %}

checks as (
    {%- for part in parts %}
    select * from part_{{ loop.index }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- if not parts %}
    -- nothing is managed
    select
        cast(null as text) as check_id,
        cast(null as text) as status,
        cast(null as text) as expected,
        cast(null as text) as actual,
        cast(null as jsonb) as offenders,
        cast(null as bigint) as offender_count
    from request
    where false
    {%- endif %}
),

final as (
    select
        checks.status,
        coalesce(found.offender ->> 'message', checks.actual) as message,
        checks.expected,
        checks.actual,
        checks.offender_count,
        found.offender
    from checks
    left join
        lateral jsonb_array_elements(checks.offenders) as found (offender)
        on found.offender ->> 'status' in ('warn', 'fail')
    where
        checks.check_id = {{ trueup.literal(check_id) }}
        and checks.status not in ('pass', 'info')
)

select * from final
{%- endmacro -%}
