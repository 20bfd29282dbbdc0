{#-
    Does a row belong to the tenants of the run? An array of texts, where NULL stands for the rows
    of no tenant; no array at all means every row.
    in_scope('fund_id', 'rows', '$1') →
        (
            cast($1 as text[]) is null
            or array_position(cast($1 as text[]), cast(rows.fund_id as text) ...) is not null
        )
-#}
{%- macro in_scope(tenant, relation, tenants) -%}
(
    cast({{ tenants }} as text[]) is null
    or array_position(
        cast({{ tenants }} as text[]),
        {{ trueup.tenant_text(relation, tenant) }}
    ) is not null
)
{%- endmacro -%}
