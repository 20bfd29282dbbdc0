{#-
    A number and what it counts, as text. number: an expression; noun: a word of one.
    counted('3', 'row') → 3 rows;  counted('1', 'batch') → 1 batch
    counted('2', none, 'totals.tenant_label') → 2 companies: the word is an expression
-#}
{%- macro counted(number, noun, label=none) -%}
{%- set word = label or trueup.literal(noun) -%}
to_char({{ number }}, 'FM999,999,999,999,990') || ' '
|| case
    when {{ number }} = 1 then {{ word }}
    when {{ word }} ~ '[^aeiou]y$' then left({{ word }}, -1) || 'ies'
    when {{ word }} ~ '(ch|x)$' then {{ word }} || 'es'
    else {{ word }} || 's'
end
{%- endmacro -%}
