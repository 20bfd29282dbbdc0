{#-
    A text as a literal, over several lines if it is long.
    long_literal('one') → 'one'; lines are joined by E'\\n', and none is wider than 70 columns
-#}
{%- macro long_literal(text) -%}
{%- for line in text.split('\n') -%}
{{ "\n        || E'\\n' || " if not loop.first }}
{%- set parts = line | wordwrap(70, break_long_words=false, break_on_hyphens=false) -%}
{%- for part in parts.split('\n') -%}
{{ "\n        || " if not loop.first }}{{ trueup.literal(part ~ ('' if loop.last else ' ')) }}
{%- endfor -%}
{%- endfor -%}
{%- endmacro -%}
