{#-
    An expression as text that compares byte by byte, whatever the column's own type and collation
    say: 'Seed' and 'seed' stay two values in a case-insensitive collation.
    binary_text('stage') → cast(stage as text) collate "C"
-#}
{%- macro binary_text(expression) -%}
    cast({{ expression }} as text) collate "C"
{%- endmacro -%}
