{#- The eight resolutions a value can have, in the order people read them. -#}
{%- macro resolutions() -%}
    {{- return([
        'canonical', 'exact', 'broader', 'ambiguous', 'out_of_scope', 'unknown', 'blank', 'null'
    ]) -}}
{%- endmacro -%}
