{#-
    The key of a row from its text in the ledger, row_key, as values of the key's columns: the
    reverse of key_text(). numbered: under the names of numbered_key().
    key_from_text({'id': 'bigint'}, 'rows.row_key')               → cast(rows.row_key as bigint)
    key_from_text({'id': 'bigint'}, 'rows.row_key', numbered=true) →
        cast(rows.row_key as bigint) as key_1
    key_from_text({'a': 'integer', 'b': 'text'}, 'rows.row_key') →
        cast((cast(rows.row_key as text[]))[1] as integer), ...
-#}
{%- macro key_from_text(key, text, numbered=false, separator=', ') -%}
    {%- for type in key.values() -%}
        {%- set part = text -%}
        {%- if key | length > 1 -%}
            {%- set part = '(cast(' ~ text ~ ' as text[]))[' ~ loop.index ~ ']' -%}
        {%- endif -%}
        {{- trueup.key_part_from_text(part, type) -}}
        {{- ' as key_' ~ loop.index if numbered -}}
        {{- separator if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
