{#-
    The var of a system that a project switches on: the name of the var that holds, and its options
    with their defaults. With `sample: true` that is the sample's var, unless your own is enabled.

    system_settings('app_state', {'enabled': false, 'user_type': 'text'}) →
        ['sample_app_state', {'enabled': true, 'user_type': 'text'}]
    known: the options, with their defaults
-#}
{%- macro system_settings(system, known) -%}
    {%- set own = var(system, {}) -%}
    {%- set is_sample = var('sample', false) and not own.get('enabled') -%}
    {%- set name = 'sample_' ~ system if is_sample else system -%}
    {%- for option, value in var(name, {}).items() -%}
        {%- if option not in known -%}
            {{- trueup.raise_wrong_input('var ' ~ name, 'option', option, known.keys()) -}}
        {%- endif -%}
        {%- do known.update({option: value}) -%}
    {%- endfor -%}
    {{- return([name, known]) -}}
{%- endmacro -%}
