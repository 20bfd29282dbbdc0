{#-
    A text as one field of a CSV line: quoted if necessary.
    csv_field('key'): 'seed / series a' → seed / series a, 'a "b"' → "a ""b"""
-#}
{%- macro csv_field(expression) -%}
case
    when
        {{ expression }} like '%"%'
        or {{ expression }} like '%,%'
        or {{ expression }} like E'%\n%'
        then '"' || replace({{ expression }}, '"', '""') || '"'
    else {{ expression }}
end
{%- endmacro -%}
