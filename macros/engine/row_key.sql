{#-
    The key of a row as one text: its columns in the order of managed_columns, joined by a comma.
    row_key({'id': 'bigint'}, 'rows') → cast(rows.id as text)
-#}
{%- macro row_key(key, relation) -%}
{%- for column in key -%}
{{ "\n|| ',' || " if not loop.first }}cast({{ relation }}.{{ trueup.quoted(column) }} as text)
{%- endfor -%}
{%- endmacro -%}
