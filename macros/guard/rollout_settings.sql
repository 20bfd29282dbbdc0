{#-
    The var rollout and, with sample: true, sample_endpoints, checked. Called while parsing, so a
    wrong entry stops `dbt parse`.
    rollout_settings() → {'environments': {name: {mode, shadow}},
                          'endpoints': [{scope, operation, methods}]}
-#}
{%- macro rollout_settings() -%}
    {%- set known = var('rollout') -%}
    {%- set names = ['production', 'staging', 'development'] -%}
    {%- for option in known if option not in ['environments', 'endpoints'] -%}
        {{- trueup.raise_wrong_input('rollout', 'option', option, ['environments', 'endpoints']) -}}
    {%- endfor -%}
    {%- set environments = known.get('environments') or {} -%}
    {%- for name in environments if name not in names -%}
        {{- trueup.raise_wrong_input('rollout.environments', 'environment', name, names) -}}
    {%- endfor -%}
    {%- for name in names -%}
        {%- set where = 'rollout.environments.' ~ name -%}
        {%- if environments.get(name) is not mapping -%}
            {{- trueup.raise_wrong_input(
                where, 'value', environments.get(name), ["{mode: 'off', shadow: false}"]
            ) -}}
        {%- endif -%}
        {%- set modes = ['off', 'warn', 'enforce'] -%}
        {%- if environments[name].get('mode') not in modes -%}
            {{- trueup.raise_wrong_input(where, 'mode', environments[name].get('mode'), modes) -}}
        {%- endif -%}
        {%- if environments[name].get('shadow') is not boolean -%}
            {{- trueup.raise_wrong_input(
                where, 'shadow', environments[name].get('shadow'), ['true', 'false']
            ) -}}
        {%- endif -%}
    {%- endfor -%}
    {%- set endpoints = (known.get('endpoints') or [])
        + (var('sample_endpoints') if var('sample') else []) -%}
    {%- for endpoint in endpoints -%}
        {%- set where = 'endpoint ' ~ loop.index -%}
        {%- if endpoint.get('operation') not in ['read', 'write'] -%}
            {{- trueup.raise_wrong_input(
                where, 'operation', endpoint.get('operation'), ['read', 'write']
            ) -}}
        {%- endif -%}
        {%- if not modules.re.match('/[^\\s\\x00-\\x1f\\x7f]*\\Z', endpoint.get('scope') or '') -%}
            {{- trueup.raise_wrong_input(
                where, 'scope', endpoint.get('scope'), ['a path, for example /api/deals']
            ) -}}
        {%- endif -%}
    {%- endfor -%}
    {{- return({'environments': environments, 'endpoints': endpoints}) -}}
{%- endmacro -%}
