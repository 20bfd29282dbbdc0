{#-
    The columns of the key, for sorting and for comparing row by row; direction: asc or desc, for
    sorting.
    key_columns({'a': 'integer', 'b': 'text'}, 'rows')         → rows.a, rows.b
    key_columns({'a': 'integer', 'b': 'text'}, 'rows', 'desc') → rows.a desc, rows.b desc
-#}
{%- macro key_columns(key, relation, direction=none) -%}
    {%- for column in key -%}
        {{- relation ~ '.' ~ trueup.quoted(column) -}}
        {{- ' ' ~ direction if direction -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
