{#-
    The key of a row as one text, the ledger's row_key; key_from_text() reads it back.
    key_text({'id': 'bigint'}, 'rows')                  → cast(rows.id as text)
    key_text({'a': 'integer', 'b': 'text'}, 'rows')     → cast(array[...] as text): {1,"x,y"}
    A long one comes on several lines.
-#}
{%- macro key_text(key, relation) -%}
    {%- if key | length == 1 -%}
        {%- set column = relation ~ '.' ~ trueup.quoted(key.keys() | first) -%}
        {{- trueup.key_part(column, key.values() | first) -}}
    {%- else -%}
        {%- set texts = trueup.key_texts(key, relation) -%}
        {%- if texts | length < 80 -%}
            {{- 'cast(' ~ texts ~ ' as text)' -}}
        {%- else -%}
            {%- set texts = trueup.key_texts(key, relation, wide=true) -%}
            {{- 'cast(\n    ' ~ texts | indent(4) ~ ' as text\n)' -}}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
