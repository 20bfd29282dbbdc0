{#-
    The tenant of a row as text that compares byte by byte; NULL if the table has no tenant
    column. In a case-insensitive column 'A' and 'a' stay two tenants.
    tenant_text('deals', 'fund_id') → cast(deals.fund_id as text) collate "C"
    tenant_text('deals', none)      → cast(null as text) collate "C"
-#}
{%- macro tenant_text(relation, tenant) -%}
    {{ trueup.binary_text(relation ~ '.' ~ trueup.quoted(tenant) if tenant else 'null') }}
{%- endmacro -%}
