{#-
    An array of texts, as key_texts() makes it, as the values of the key's columns.
    key_values({'a': 'integer', 'b': 'text'}, '$1') →
        cast((cast($1 as text[]))[1] as integer), cast((cast($1 as text[]))[2] as text)
    numbered: under the names of numbered_key().
-#}
{%- macro key_values(key, texts, numbered=false) -%}
    {%- for type in key.values() -%}
        {%- set part = '(cast(' ~ texts ~ ' as text[]))[' ~ loop.index ~ ']' -%}
        {{- trueup.key_part_from_text(part, type) -}}
        {{- ' as key_' ~ loop.index if numbered -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
