{#-
    The reverse of key_part(): the value of one column of a key from its text in the ledger.
    key_part_from_text('rows.row_key', 'bigint')      → cast(rows.row_key as bigint)
    key_part_from_text('rows.row_key', 'timestamptz') →
        timezone('UTC', cast(rows.row_key as timestamp))
-#}
{%- macro key_part_from_text(text, type) -%}
    {%- if type == 'timestamptz' -%}
        timezone('UTC', cast({{ text }} as timestamp))
    {%- else -%}
        cast({{ text }} as {{ type }})
    {%- endif -%}
{%- endmacro -%}
