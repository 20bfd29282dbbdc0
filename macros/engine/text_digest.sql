{#- SHA-256 of a text, as 64 hexadecimal digits. -#}
{%- macro text_digest(expression) -%}
    encode(sha256(convert_to({{ expression }}, 'UTF8')), 'hex')
{%- endmacro -%}
