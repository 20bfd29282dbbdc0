{#-
    Is a row of `application` in a batch, or in the current piece of it? A condition on its
    key, its stripe and its tenant.

    in_batch({'key': {'id': 'uuid'}, 'tenant': none}, numbers) →
        key_in_range(...) and stripe_of(...) = cast($3 as bigint) and in_scope(...)

    If the key is a whole number, it expects the CTE `chunks`, see numbers_of_stripe(). The
    statements are planned with the values of their parameters, so only one of the two conditions
    that `dense` chooses from is left, and the index of the key can be used.

    numbers: parameter_numbers() of range_start, range_end, stripe, stripes, tenants; also hashed
    and dense if the key is a whole number, and by_tenant and fund_id if there is a tenant.
-#}
{%- macro in_batch(entry, numbers) -%}
{%- set of_stripe -%}
{{ trueup.stripe_of(
    entry.key, 'application', numbers.stripes, numbers.get('hashed')
) }} = cast({{ numbers.stripe }} as bigint)
{%- endset -%}
{{ trueup.key_in_range(entry.key, 'application', numbers.range_start, numbers.range_end) }}
{%- if trueup.is_integer_key(entry.key) %}
and (
    (
        cast({{ numbers.dense }} as boolean)
        and {{ trueup.key_columns(entry.key, 'application') }} = any(chunks.numbers)
    )
    or (
        not cast({{ numbers.dense }} as boolean)
        and {{ of_stripe | indent(8) }}
    )
)
{%- else %}
and {{ of_stripe }}
{%- endif %}
and {{ trueup.in_scope(entry.tenant, 'application', numbers.tenants) }}
{%- if entry.tenant %}
and {{ trueup.of_tenant(
    entry.tenant, 'application', numbers.by_tenant, numbers.fund_id
) }}
{%- endif %}
{%- endmacro -%}
