{#-
    A text of the configuration, such as the name of a table, as a SQL literal.
    literal('stage')   → 'stage'
    literal("it's")    → 'it''s'
-#}
{%- macro literal(text) -%}
    {{- "'" ~ text | replace("'", "''") ~ "'" -}}
{%- endmacro -%}
