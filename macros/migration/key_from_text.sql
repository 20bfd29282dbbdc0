{#-
    The key of a row from its one text, the ledger's row_key, as values of the key's columns: what
    key_text() made of them.
    key_from_text({'id': 'bigint'}, 'rows.row_key')  → cast(rows.row_key as bigint)
    key_from_text({'a': 'integer', 'b': 'text'}, 'rows.row_key') →
        cast((cast(cast(rows.row_key as text[]) as text[]))[1] as integer), ...
-#}
{%- macro key_from_text(key, text) -%}
    {%- if key | length == 1 -%}
        {{- 'cast(' ~ text ~ ' as ' ~ (key.values() | first) ~ ')' -}}
    {%- else -%}
        {{- trueup.key_values(key, 'cast(' ~ text ~ ' as text[])') -}}
    {%- endif -%}
{%- endmacro -%}
