{#-
    The tenant of a row as text; NULL where the table has no tenant column.
    tenant_text('deals', 'fund_id') → cast(deals.fund_id as text)
    tenant_text('deals', none)      → cast(null as text)
-#}
{%- macro tenant_text(relation, tenant) -%}
    cast({{ relation ~ '.' ~ trueup.quoted(tenant) if tenant else 'null' }} as text)
{%- endmacro -%}
