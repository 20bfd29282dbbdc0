{#-
    The columns of the key, for sorting and for comparing row by row.
    key_columns({'a': 'integer', 'b': 'text'}, 'rows') → rows.a, rows.b
-#}
{%- macro key_columns(key, relation) -%}
    {%- for column in key -%}
        {{- relation ~ '.' ~ trueup.quoted(column) -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
