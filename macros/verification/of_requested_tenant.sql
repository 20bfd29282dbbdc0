{#-
    Does a row belong to the tenants that are verified, as the CTE request says? A condition; NULL
    among them stands for the rows of no tenant. The request is a scalar subquery, because a join
    would rule out a parallel scan.
    of_requested_tenant('fund_id', 'deals') → (... is null or array_position(..., ...) is not null)
-#}
{%- macro of_requested_tenant(tenant, relation) -%}
(
    {{ trueup.requested('tenants') }} is null
    or array_position(
        {{ trueup.requested('tenants') }},
        {{ trueup.tenant_text(relation, tenant) }}
    ) is not null
)
{%- endmacro -%}
