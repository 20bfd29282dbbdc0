{#-
    The words of a text key that must be equal in a suggestion: those of at most three letters, and
    those with anything but letters a-z in them. Two keys whose fixed parts differ are never
    suggested for each other.
    fixed_parts('text_key'): 'sereis b' → 'b', 'series x' → 'x', 'presead' → '', 'seed?' → 'seed?',
                             'not seed' → 'not', 'c轮以上' → 'c轮以上'
-#}
{%- macro fixed_parts(expression) -%}
btrim(
    regexp_replace(
        -- doubled spaces give every word a separate space on either side
        regexp_replace(
            ' ' || replace({{ expression }}, ' ', '  ') || ' ',
            ' [a-z]{4,} ',
            ' ',
            'g'
        ),
        ' +',
        ' ',
        'g'
    )
)
{%- endmacro -%}
