{#-
    A whole number with its thousands apart, as text.
    grouped_digits('1234567') → 1,234,567
-#}
{%- macro grouped_digits(number) -%}
to_char({{ number }}, 'FM999,999,999,999,990')
{%- endmacro -%}
