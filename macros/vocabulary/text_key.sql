{#-
    The key under which a text is looked up: the text with case, accents, dashes, spaces and other
    typing habits folded away. An expression; IMMUTABLE; NULL for NULL; total: no text
    raises.

    text_key('raw_value'): 'Series–A'        → 'series a'
                           'Seed\nFunding'   → 'seed funding'     (a literal backslash and n)
                           'seed/Series A '  → 'seed / series a'  (a list stays a list)
                           'Seed以前'         → 'seed以前'           (what is not listed survives)
                           '---'             → ''

    Traps: case is folded by translate, because lower() depends on the database's locale; the
    database must be UTF8 (normalize() raises otherwise). The lists are in look_alikes, separators
    and invisible_characters.
-#}
{%- macro text_key(expression) -%}
{%- set separated = trueup.separators() -%}
btrim(
    replace(
        -- 7. a list stays a list: 'seed/ series a' → 'seed / series a'; single spaces
        regexp_replace(
            regexp_replace(
                -- 4. to 6. one character for another: case, look-alikes, separators
                translate(
                    -- 3. what cannot be seen
                    regexp_replace(
                        -- 1. an escape written out is a space; 2. decomposition
                        normalize(
                            regexp_replace(
                                {{ expression }}, '\\+[nrt]', ' ', 'g'
                            ),
                            nfkd
                        ),
                        {{ trueup.character_class(trueup.invisible_characters()) | indent(24) }},
                        '',
                        'g'
                    ),
                    'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
                    {{- trueup._code_points(trueup.look_alikes()) | indent(20) }}
                    || '{{ separated.list.ascii }}'
                    {{- trueup._code_points(separated.list.groups) | indent(20) }}
                    || '{{ separated.space.ascii }}'
                    {{- trueup._code_points(separated.space.groups) | indent(20) }},
                    'abcdefghijklmnopqrstuvwxyz'
                    {%- for group in trueup.look_alikes() %}
                    || '{{ group.to }}'
                    {%- endfor %}
                    || repeat('/', {{ trueup._count(separated.list) }})
                    || repeat(' ', {{ trueup._count(separated.space) }})
                ),
                ' *(/ *)+',
                ' / ',
                'g'
            ),
            ' +',
            ' ',
            'g'
        ),
        ' +',
        '+'
    ),
    ' /'
)
{%- endmacro -%}

{#- Groups of characters to be appended to a text, each on separate lines under its name. -#}
{%- macro _code_points(groups) -%}
{%- for group in groups %}
-- {{ group.name }}
{%- for points in group.from | batch(10) %}
|| {{ trueup.code_points(points) }}
{%- endfor %}
{%- endfor %}
{%- endmacro -%}

{#- How many characters a set of separators has; a doubled quote is one. -#}
{%- macro _count(separator) -%}
    {%- set total = namespace(n=(separator.ascii | replace("''", "'") | length)) -%}
    {%- for group in separator.groups -%}
        {%- set total.n = total.n + (group.from | length) -%}
    {%- endfor -%}
    {{- total.n -}}
{%- endmacro -%}
