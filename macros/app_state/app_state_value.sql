{#-
    A value of an item as the type of its column; NULL if it is of another kind. Nothing is lost by
    that, see app_state_extra().

    app_state_value('given.week_number', 'numeric') →
        case when jsonb_typeof(given.week_number) = 'number' then cast(... as numeric) end
    value: jsonb, for a timestamptz text

    Times are read by iso_time().
-#}
{%- macro app_state_value(value, type) -%}
{%- if type == 'text' -%}
case
    when jsonb_typeof({{ value }}) = 'string'
        then {{ value }} #>> '{}'
end
{%- elif type == 'timestamptz' -%}
{{ trueup.iso_time(value) }}
{%- else -%}
case
    when jsonb_typeof({{ value }}) = '{{ 'number' if type == 'numeric' else type }}'
        then cast({{ value }} as {{ type }})
end
{%- endif -%}
{%- endmacro -%}
