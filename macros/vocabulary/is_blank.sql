{#-
    Whether a text has only white space and invisible characters. Dashes and the like are visible.
    is_blank('raw_value'): '' → true, ' <no-break space>' → true, '-' → false, NULL → NULL
-#}
{%- macro is_blank(expression) -%}
{%- set white_space = {
    'name': 'white space',
    'ranges': [
        '\\u0009-\\u000D', '\\u001C-\\u0020', '\\u0085', '\\u00A0', '\\u1680', '\\u2000-\\u200A',
        '\\u2028', '\\u2029', '\\u202F', '\\u205F', '\\u3000'
    ],
} -%}
regexp_replace(
    {{ expression }},
    {{ trueup.character_class([white_space] + trueup.invisible_characters()) | indent(4) }},
    '',
    'g'
) = ''
{%- endmacro -%}
