{#-
    A jsonb value as number; NULL if it is not a JSON number (a string 'NaN', an object, null) or
    too large for a weight (10^12 and above, which would overflow the sum).
    json_number('members.weight_value'): 0.4 → 0.4, "0.4" → NULL
-#}
{%- macro json_number(expression) -%}
case
    when jsonb_typeof({{ expression }}) <> 'number' then null
    -- a larger number is not a weight, and would overflow the sum
    when abs(cast({{ expression }} as numeric)) < 1000000000000
        then cast({{ expression }} as numeric)
end
{%- endmacro -%}
