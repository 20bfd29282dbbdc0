{#-
    The key under which a text is looked up: what stays of it when case, accents, dashes, spaces and other habits of typing are
    folded away. An expression; IMMUTABLE; NULL for NULL; total: no text raises.

    text_key('raw_value'):  'Series–A'        → 'series a'
                            'Seed\nFunding'   → 'seed funding'       (a literal backslash and n, as bad exports write it)
                            'seed/Series A '  → 'seed / series a'    (a list stays a list)
                            'Seed以前'         → 'seed以前'             (what is not listed survives, so it stays unknown)
                            '---'             → ''

    Traps: case is folded by translate, because lower() depends on the database's locale; the database must be UTF8
    (normalize() raises otherwise). The lists are in look_alikes, separators and invisible_characters.
-#}
{%- macro text_key(expression) -%}
{%- set separated = separators() -%}
btrim(
        replace(
            -- 7. a list stays a list: 'seed/ series a' becomes 'seed / series a'; runs of spaces become one
            regexp_replace(
                regexp_replace(
                    -- 4. to 6. one character for another: case, look-alikes, list separators, separators
                    translate(
                        -- 3. what cannot be seen: accents, zero-width characters, soft hyphen, byte order mark
                        regexp_replace(
                            -- 1. an escape written out by a bad export is a space; 2. compatibility decomposition
                            normalize(regexp_replace({{ expression }}, '\\+[nrt]', ' ', 'g'), nfkd),
                            '[{{ invisible_characters() }}]',
                            '',
                            'g'
                        ),
                        'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
                        {%- for group in look_alikes() %}
                        -- {{ group.name }}
                        || {{ code_points(group.from) }}
                        {%- endfor %}
                        || '{{ separated.list.ascii }}'
                        {%- for group in separated.list.groups %}
                        -- {{ group.name }}
                        || {{ code_points(group.from) }}
                        {%- endfor %}
                        || '{{ separated.space.ascii }}'
                        {%- for group in separated.space.groups %}
                        -- {{ group.name }}
                        || {{ code_points(group.from) }}
                        {%- endfor %},
                        'abcdefghijklmnopqrstuvwxyz'
                        {%- for group in look_alikes() %}
                        || '{{ group.to }}'
                        {%- endfor %}
                        || repeat('/', {{ _count(separated.list) }})
                        || repeat(' ', {{ _count(separated.space) }})
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

{#- How many characters a set of separators has; a doubled quote is one. -#}
{%- macro _count(separator) -%}
    {%- set total = namespace(n=(separator.ascii | replace("''", "'") | length)) -%}
    {%- for group in separator.groups -%}{%- set total.n = total.n + (group.from | length) -%}{%- endfor -%}
    {{- total.n -}}
{%- endmacro -%}
