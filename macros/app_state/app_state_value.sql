{#-
    A value of an item as the type of its column; NULL if it is of another kind. Nothing is lost by
    that, see app_state_extra().

    app_state_value('given.week_number', 'numeric') →
        case when jsonb_typeof(given.week_number) = 'number' then cast(... as numeric) end
    value: jsonb, for a timestamptz text

    Times are ISO 8601; without a zone they are UTC. Trap: PostgreSQL 15 cannot ask whether a text
    is a time, so a pattern knows the days of the months.
-#}
{%- macro app_state_value(value, type) -%}
{%- if type == 'text' -%}
case
    when jsonb_typeof({{ value }}) = 'string'
        then {{ value }} #>> '{}'
end
{%- elif type == 'timestamptz' -%}
case
    when
        {{ value }}
        ~ '^([0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
        '|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)'
        '|[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])'
        '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|[02468][048]00|[13579][26]00)-02-29)'
        '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?'
        '(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?$'
        and left({{ value }}, 4) <> '0000'
        then cast(
            {{ value }}
            || case
                when right({{ value }}, 1) = 'Z' then ''
                when length({{ value }}) = 10 then ' 00:00Z'
                when {{ value }} ~ '[+-][0-9]{2}:?[0-9]{2}$' then ''
                else 'Z'
            end as timestamptz
        )
end
{%- else -%}
case
    when jsonb_typeof({{ value }}) = '{{ 'number' if type == 'numeric' else type }}'
        then cast({{ value }} as {{ type }})
end
{%- endif -%}
{%- endmacro -%}
