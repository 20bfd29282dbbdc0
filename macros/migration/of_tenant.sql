{#-
    If batches are cut by tenant: does the row belong to the tenant of this batch? Otherwise always
    true. The tenant is compared in its column's own type, so that an index that leads with it can
    be used; NULL stands for the rows of no tenant.
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
