{#-
    Is the key one column of whole numbers, whose low bits can choose the stripe?
    is_integer_key({'id': 'bigint'}) → true
-#}
{%- macro is_integer_key(key) -%}
    {{- return((key.values() | list) in [['smallint'], ['integer'], ['bigint']]) -}}
{%- endmacro -%}
