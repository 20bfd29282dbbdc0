{#-
    Is a row in the scope of the verification: does it belong to one of the tables of the CTE
    request and, if its tenant column is given, to one of the tenants? A condition.
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
