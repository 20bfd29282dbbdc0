{#-
    SHA-256 of a text, as 64 hexadecimal digits.
    text_digest('notes.body') → encode(sha256(convert_to(notes.body, 'UTF8')), 'hex')
-#}
{%- macro text_digest(expression) -%}
encode(
    sha256(convert_to({{ expression }}, 'UTF8')),
    'hex'
)
{%- endmacro -%}
