{#-
    Where batches are cut by tenant: is the row of the tenant of this batch? Everywhere else every
    row is. The tenant is compared as its column's own type, so that an index which leads with it
    serves; NULL stands for the rows of no tenant.
    of_tenant('fund_id', 'rows', '$1', '$2') →
        (
            not cast($1 as boolean)
            or rows.fund_id = $2
            or ($2 is null and rows.fund_id is null)
        )
-#}
{%- macro of_tenant(tenant, relation, by_tenant, fund_id) -%}
{%- set column = relation ~ '.' ~ trueup.quoted(tenant) -%}
(
    not cast({{ by_tenant }} as boolean)
    or {{ column }} = {{ fund_id }}
    or ({{ fund_id }} is null and {{ column }} is null)
)
{%- endmacro -%}
