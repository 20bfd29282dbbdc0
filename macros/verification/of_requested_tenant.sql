{#-
    Does a row belong to the tenants that are verified, as the CTE request says? A condition; NULL
    among them stands for the rows of no tenant. The request is asked for by itself, not joined:
    joined, it would keep a scan from being parallel.
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
