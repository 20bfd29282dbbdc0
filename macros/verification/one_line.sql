{#-
    A text for people to read within one line: characters that would move or break the line are
    shown by their symbols. Its length stays.
    one_line('raw_value'): 'A<line feed>' → 'A␊'
-#}
{%- macro one_line(expression) -%}
translate({{ expression }}, E'\t\n\x0b\f\r', '␉␊␋␌␍')
{%- endmacro -%}
