{#-
    Is a row in what is verified: of one of the tables of the CTE request and, where its column of
    the tenant is named, of one of the tenants? A condition.
    of_request("'deals'")                 → (... is null or array_position(..., 'deals') ...)
    of_request('a.name', 'fund_id', 'a')  → (... as before ...) and (... of one of the tenants ...)
-#}
{%- macro of_request(table_name, tenant=none, relation=none) -%}
(
    {{ trueup.requested('table_names') }} is null
    or array_position(
        {{ trueup.requested('table_names') }},
        {{ table_name }}
    ) is not null
)
{%- if tenant %}
and {{ trueup.of_requested_tenant(tenant, relation) }}
{%- endif -%}
{%- endmacro -%}
