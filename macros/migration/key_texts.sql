{#-
    The key of a row as an array of texts, one per column: how the ledger stores the ends of ranges.
    Texts in a composite key get collation "C": an array of several collations cannot be compared.
    key_texts({'id': 'bigint'}, 'rows')              → array[cast(rows.id as text)]
    key_texts({'a': 'text', 'b': 'uuid'}, 'rows')    →
        array[cast(rows.a as text) collate "C", cast(rows.b as text)]
    wide: each text on a line of its own
-#}
{%- macro key_texts(key, relation, wide=false) -%}
    {%- set texts = [] -%}
    {%- for column, type in key.items() -%}
        {%- do texts.append(
            trueup.key_part(relation ~ '.' ~ trueup.quoted(column), type)
            ~ (' collate "C"' if type == 'text' and key | length > 1 else '')
        ) -%}
    {%- endfor -%}
    {%- if wide -%}
        {{- 'array[\n    ' ~ texts | join(',\n    ') ~ '\n]' -}}
    {%- else -%}
        {{- 'array[' ~ texts | join(', ') ~ ']' -}}
    {%- endif -%}
{%- endmacro -%}
