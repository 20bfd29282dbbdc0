{#-
    Groups of character ranges as one character class of a regular expression, each group on
    separate lines under its name. An expression.
    character_class([{'name': 'digits', 'ranges': ['0-9', '\\u0660-\\u0669']}])
    → '[' || '0-9\u0660-\u0669' || ']'
-#}
{%- macro character_class(groups) -%}
'['
{%- for group in groups %}
-- {{ group.name }}
{%- for ranges in group.ranges | batch(4) %}
|| '{{ ranges | join }}'
{%- endfor %}
{%- endfor %}
|| ']'
{%- endmacro -%}
