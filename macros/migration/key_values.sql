{#-
    An array of texts, as key_texts() makes it, as the values of the key's columns.
    key_values({'a': 'integer', 'b': 'text'}, '$1') →
        cast((cast($1 as text[]))[1] as integer), cast((cast($1 as text[]))[2] as text)
-#}
{%- macro key_values(key, texts) -%}
    {%- for type in key.values() -%}
        {{- 'cast((cast(' ~ texts ~ ' as text[]))[' ~ loop.index ~ '] as ' ~ type ~ ')' -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
