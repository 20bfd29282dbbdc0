{#-
    The key of a row as an array of texts, one per column: how the ledger stores the ends of ranges.
    key_texts({'id': 'bigint'}, 'rows') → array[cast(rows.id as text)]
-#}
{%- macro key_texts(key, relation) -%}
    array[
    {%- for column in key -%}
        {{- 'cast(' ~ relation ~ '.' ~ trueup.quoted(column) ~ ' as text)' -}}
        {{- ', ' if not loop.last -}}
    {%- endfor -%}
    ]
{%- endmacro -%}
