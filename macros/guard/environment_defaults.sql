{#-
    The defaults of the environments, as the rows of a VALUES list: environment, mode, shadow.
    environment_defaults() → ('production', 'off', false), ('staging', 'warn', false), ...
-#}
{%- macro environment_defaults() -%}
    {%- set rows = [] -%}
    {%- for name, default in trueup.rollout_settings().environments.items() -%}
        {%- do rows.append(
            '(' ~ trueup.literal(name) ~ ', ' ~ trueup.literal(default.mode) ~ ', '
            ~ (default.shadow | string | lower) ~ ')'
        ) -%}
    {%- endfor -%}
    {{- rows | join(',\n') -}}
{%- endmacro -%}
