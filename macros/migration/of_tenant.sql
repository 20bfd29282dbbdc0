{#-
    If batches are cut by tenant: does the row belong to the tenant of this batch? Otherwise always
    true. The tenant is compared in its column's own type; NULL stands for the rows of no tenant.

    COALESCE, because the planner knows how rare a tenant is, but not that all listed rows are of
    this one: it would expect few rows, and change them in the order of the map.

    of_tenant('fund_id', 'rows', '$1', '$2') →
        coalesce(
            not cast($1 as boolean)
            or rows.fund_id = $2
            or ($2 is null and rows.fund_id is null),
            false
        )
-#}
{%- macro of_tenant(tenant, relation, by_tenant, fund_id) -%}
{%- set column = relation ~ '.' ~ trueup.quoted(tenant) -%}
coalesce(
    not cast({{ by_tenant }} as boolean)
    or {{ column }} = {{ fund_id }}
    or ({{ fund_id }} is null and {{ column }} is null),
    false
)
{%- endmacro -%}
