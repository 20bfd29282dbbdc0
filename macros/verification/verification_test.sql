{#-
    The data test of one check of `trueup verify`: the same SQL, for the newest migration that has
    come to its end. The rows of it that warn or fail, one per column of a table.
    verification_test('row_counts') → select * from ( ... ) as results where ...
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
{%- set parts = [] -%}
{%- for check in of_run.get(check_id, []) -%}
    {%- do parts.append(check()) -%}
{%- endfor -%}
{%- for entry in trueup.managed_columns() -%}
    {%- for check in of_column.get(check_id, []) -%}
        {%- if check != trueup.check_models or entry.mart -%}
            {%- do parts.append(check(entry)) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endfor -%}
{%- if not parts -%}
    {%- do parts.append('select 1') -%}
{%- endif -%}
select results.*
from (
    {%- for part in parts %}
    (
with {{ trueup.verification_request(true) }},

{{ part }}
    )
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
) as results
where
    results.check_id = {{ trueup.literal(check_id) }}
    and results.status not in ('pass', 'info')
{%- endmacro -%}
