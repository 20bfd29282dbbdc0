{#-
    Is a row of `application` in a batch, or in the piece of it that is taken? A condition on its
    key, its stripe and its tenant.

    in_batch({'key': {'id': 'bigint'}, 'tenant': none}, numbers) →
        key_in_range(...) and stripe_of(...) = cast($5 as bigint) and in_scope(...)

    numbers: what parameter_numbers() made of range_start, range_end, stripe, stripes, tenants;
    hashed where the key is a whole number; by_tenant and fund_id where there is a tenant.
-#}
{%- macro in_batch(entry, numbers) -%}
{{ trueup.key_in_range(entry.key, 'application', numbers.range_start, numbers.range_end) }}
and {{ trueup.stripe_of(
    entry.key, 'application', numbers.stripes, numbers.get('hashed')
) }} = cast({{ numbers.stripe }} as bigint)
and {{ trueup.in_scope(entry.tenant, 'application', numbers.tenants) }}
{%- if entry.tenant %}
and {{ trueup.of_tenant(
    entry.tenant, 'application', numbers.by_tenant, numbers.fund_id
) }}
{%- endif %}
{%- endmacro -%}
