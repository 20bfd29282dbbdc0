{#-
    Can a text be read as the key of a row, as key_from_text() does it? A CASE, so that the cast is
    not tried if it would raise: a ledger may contain keys that trueup did not write.
    is_readable_key({'id': 'bigint'}, 'rows.row_key'): '17' → true, 'x' → false, NULL → false
-#}
{%- macro is_readable_key(key, text) -%}
{%- if key | length == 1 -%}
{{ trueup._is_readable(key.values() | first, text) }}
{%- else -%}
{#- as PostgreSQL writes arrays: a part is quoted if necessary -#}
{%- set part = '("([^"\\\\]|\\\\.)*"|[^"{},\\\\ ]+)' -%}
case
    when
        coalesce(
            {{ text }} !~ (
                '^[{]{{ part }}'
                || '(,{{ part }}){{ '{' ~ (key | length - 1) ~ '}' }}[}]$'
            ),
            true
        )
        then false
    else
        {%- for type in key.values() %}
        {{ 'and ' if not loop.first }}
        {{- trueup._is_readable(type, '(cast(' ~ text ~ ' as text[]))[' ~ loop.index ~ ']')
            | indent(8) }}
        {%- endfor %}
end
{%- endif -%}
{%- endmacro -%}

{#- The same for one part of a key, by the part's type. -#}
{%- macro _is_readable(type, text) -%}
{%- set smallest = {
    'smallint': '-32768', 'integer': '-2147483648', 'bigint': '-9223372036854775808'
} -%}
{%- set largest = {
    'smallint': '32767', 'integer': '2147483647', 'bigint': '9223372036854775807'
} -%}
{%- set others = {
    'numeric': '^-?[0-9]+([.][0-9]+)?$',
    'date': '^([0-9]{4,7}-[0-9]{2}-[0-9]{2}( BC)?|-?infinity)$',
    'timestamptz': '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}( BC)?|-?infinity)$',
} -%}
{%- if type == 'text' -%}
{{ text }} is not null
{%- elif type in others -%}
coalesce({{ text }} ~ '{{ others[type] }}', false)
{%- elif type == 'uuid' -%}
coalesce(
    {{ text }}
    ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
    false
)
{%- else -%}
case
    when {{ text }} ~ '^-?[0-9]{1,19}$'
        then
            cast({{ text }} as numeric)
            between {{ smallest[type] }} and {{ largest[type] }}
    else false
end
{%- endif -%}
{%- endmacro -%}
