{#-
    The scopes of the endpoints of the var rollout as an array, an expression.
    endpoint_list() → array['/api/deals', ...]; cast('{}' as text[]) if there is none
-#}
{%- macro endpoint_list() -%}
    {%- set scopes = [] -%}
    {%- for endpoint in trueup.rollout_settings().endpoints -%}
        {%- do scopes.append(trueup.literal(endpoint.scope)) -%}
    {%- endfor -%}
    {%- if scopes -%}
array[
    {{ scopes | join(',\n    ') }}
]
    {%- else -%}
cast('{}' as text[])
    {%- endif -%}
{%- endmacro -%}
