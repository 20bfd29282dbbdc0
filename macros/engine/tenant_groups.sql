{#-
    The expressions after `group by` to count rows by tenant: the tenant as it is stored, which is
    cheaper than a text of every row, and also its text if its type treats different texts as equal
    (a case-insensitive type, numbers with 1.0 and 1.00).
    tenant_groups('deals', 'fund_id') →
        deals.fund_id, case when pg_typeof(deals.fund_id) ... then cast(deals.fund_id as text) end
    tenant_groups('deals', none) → cast(null as text) collate "C"
-#}
{%- macro tenant_groups(relation, tenant) -%}
{%- set text = trueup.tenant_text(relation, tenant) -%}
{%- if tenant -%}
{%- set column = relation ~ '.' ~ trueup.quoted(tenant) -%}
{{ column }},
case
    when
        pg_typeof({{ column }})
        <> all(cast('{smallint, integer, bigint, uuid}' as regtype[]))
        then {{ text }}
end
{%- else -%}
{{ text }}
{%- endif -%}
{%- endmacro -%}
