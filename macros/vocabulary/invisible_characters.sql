{#-
    Invisible characters, as ranges of a regular-expression character class. The overlays U+0334
    to 0338 and the enclosing marks from U+20D0 are left out on purpose: struck-out text is not a
    stage, and ≠ is = with U+0338.
-#}
{%- macro invisible_characters() -%}
    {{- return([
        {'name': 'combining marks: accents, after decomposition',
         'ranges': ['\\u0300-\\u0333', '\\u0339-\\u036F', '\\u0483-\\u0487', '\\u1AB0-\\u1AFF',
                    '\\u1DC0-\\u1DFF', '\\uFE20-\\uFE2F']},
        {'name': 'zero-width and direction characters, soft hyphen, byte order mark',
         'ranges': ['\\u00AD', '\\u061C', '\\u200B-\\u200F', '\\u202A-\\u202E', '\\u2060-\\u206F',
                    '\\uFEFF']},
        {'name': 'fillers, inherent vowels, variation selectors, tags',
         'ranges': ['\\u115F', '\\u1160', '\\u17B4', '\\u17B5', '\\u180B-\\u180F', '\\u3164',
                    '\\uFE00-\\uFE0F', '\\uFFA0', '\\U000E0000-\\U000E0FFF']}
    ]) -}}
{%- endmacro -%}
