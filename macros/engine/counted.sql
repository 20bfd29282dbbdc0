{#-
    A number and what it counts, as text. number: an expression; noun: the word for one.
    counted('3', 'row') → 3 rows;  counted('1', 'batch') → 1 batch
    counted('2', none, 'totals.tenant_label') → 2 companies: the word is an expression
-#}
{%- macro counted(number, noun, label=none) -%}
{{ trueup.grouped_digits(number) }} || ' '
{%- if label %}
|| case
    when {{ number }} = 1 then {{ label }}
    when {{ label }} ~ '[^aeiou]y$' then left({{ label }}, -1) || 'ies'
    when {{ label }} ~ '(ch|x)$' then {{ label }} || 'es'
    else {{ label }} || 's'
end
{%- else %}
{%- set ending = 'es' if noun.endswith('ch') or noun.endswith('x') else 's' %}
|| case
    when {{ number }} = 1 then {{ trueup.literal(noun) }}
    else {{ trueup.literal(noun ~ ending) }}
end
{%- endif %}
{%- endmacro -%}
