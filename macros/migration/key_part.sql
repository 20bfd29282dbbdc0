{#-
    One column of a key as the text that the ledger stores, the same whatever the session's
    DateStyle and TimeZone are; key_part_from_text() reads it back.
    key_part('rows.id', 'bigint')      → cast(rows.id as text)
    key_part('rows.at', 'timestamptz') → to_jsonb(timezone('UTC', rows.at)) #>> '{}'
-#}
{%- macro key_part(column, type) -%}
    {%- if type == 'timestamptz' -%}
        to_jsonb(timezone('UTC', {{ column }})) #>> '{}'
    {%- elif type == 'date' -%}
        to_jsonb({{ column }}) #>> '{}'
    {%- else -%}
        cast({{ column }} as text)
    {%- endif -%}
{%- endmacro -%}
