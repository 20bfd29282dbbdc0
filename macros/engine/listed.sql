{#-
    The first three texts of an array, and how many more there are. An expression.
    listed('names'): {a,b,c,d,e} → 'a, b, c and 2 more'
-#}
{%- macro listed(array) -%}
concat_ws(
    ' and ',
    array_to_string({{ array }}[1:3], ', '),
    nullif(
        greatest(cardinality({{ array }}), 3),
        3
    ) - 3 || ' more'
)
{%- endmacro -%}
