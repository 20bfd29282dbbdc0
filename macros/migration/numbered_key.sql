{#-
    The key under the names key_1, key_2, ..., which cannot clash with the table's columns: for CTEs
    that have other columns besides the key.
    numbered_key({'id': 'bigint'}) → {'key_1': 'bigint'}
-#}
{%- macro numbered_key(key) -%}
    {%- set numbered = {} -%}
    {%- for type in key.values() -%}
        {%- do numbered.update({'key_' ~ loop.index: type}) -%}
    {%- endfor -%}
    {{- return(numbered) -}}
{%- endmacro -%}
