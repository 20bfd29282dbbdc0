{#-
    Ranges of a regular-expression character class: what a reader cannot see. Combining marks (accents, after NFKD), zero-width
    and direction characters, soft hyphen, variation selectors, byte order mark.
    The overlays U+0334 to 0338 and the enclosing marks from U+20D0 are left out on purpose: struck-out text is not a stage,
    and ≠ is = with U+0338.
-#}
{%- macro invisible_characters() -%}
    {{- return(
        '\\u00AD\\u0300-\\u0333\\u0339-\\u036F\\u0483-\\u0487\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F'
        ~ '\\u1AB0-\\u1AFF\\u1DC0-\\u1DFF\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u3164\\uFE00-\\uFE0F'
        ~ '\\uFE20-\\uFE2F\\uFEFF\\uFFA0\\U000E0000-\\U000E0FFF'
    ) -}}
{%- endmacro -%}
