{#-
    The columns of the key under the names that numbered_key() gives them.
    numbered_columns({'a': 'integer', 'b': 'text'}, 'rows') → rows.a as key_1, rows.b as key_2
-#}
{%- macro numbered_columns(key, relation) -%}
    {%- for column in key -%}
        {{- relation ~ '.' ~ trueup.quoted(column) ~ ' as key_' ~ loop.index -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
