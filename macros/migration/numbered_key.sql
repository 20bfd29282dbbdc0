{#-
    The key under names of our own, key_1, key_2, ..., which no column of the table can clash with:
    for CTEs that carry the key beside other columns.
    numbered_key({'id': 'bigint'}) → {'key_1': 'bigint'}
-#}
{%- macro numbered_key(key) -%}
    {%- set numbered = {} -%}
    {%- for type in key.values() -%}
        {%- do numbered.update({'key_' ~ loop.index: type}) -%}
    {%- endfor -%}
    {{- return(numbered) -}}
{%- endmacro -%}
