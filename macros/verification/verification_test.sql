{#-
    The data test of one check of `trueup verify`: the same SQL, for the newest migration that has
    come to its end. One row per offender that warns or fails; status is that of the check for the
    table and column, which decides whether dbt warns or fails.
    verification_test('row_counts') → with request as ( ... ), ... select * from final
-#}
{%- macro verification_test(code) -%}
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
{%- for check in of_run.get(code, []) -%}
    {%- do parts.append(check()) -%}
{%- endfor -%}
{%- for entry in trueup.managed_columns() if entry.mart or code != 'models_agree' -%}
    {%- for check in of_column.get(code, []) -%}
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
        cast(null as text) as code,
        cast(null as text) as status,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as jsonb) as sample,
        cast(null as bigint) as rows
    from request
    where false
    {%- endif %}
),

final as (
    select
        checks.status,
        coalesce(offenders.offender ->> 'message', checks.found) as message,
        checks.expected,
        checks.found,
        checks.rows,
        offenders.offender
    from checks
    left join
        lateral jsonb_array_elements(checks.sample) as offenders (offender)
        on offenders.offender ->> 'status' in ('warn', 'fail')
    where
        checks.code = {{ trueup.literal(code) }}
        and checks.status not in ('ok', 'info')
)

select * from final
{%- endmacro -%}
