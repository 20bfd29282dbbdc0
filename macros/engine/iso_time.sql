{#-
    A text as a time, NULL if it is none: ISO 8601, a date alone is its midnight, and without a zone
    it is UTC. Total: no text raises.

    iso_time('given.created_at'): '2024-02-29'            → 2024-02-29 00:00:00+00
                                  '2024-02-30'            → NULL
                                  '2025-01-01T10:00+02'   → NULL (a zone has minutes)

    Trap: PostgreSQL 15 cannot ask whether a text is a time, so a pattern knows the days of the
    months.
-#}
{%- macro iso_time(value) -%}
case
    when
        {{ value }}
        ~ '^([0-9]{4}-(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])'
        '|[0-9]{4}-(0[469]|11)-(0[1-9]|[12][0-9]|30)'
        '|[0-9]{4}-02-(0[1-9]|1[0-9]|2[0-8])'
        '|([0-9]{2}(0[48]|[2468][048]|[13579][26])'
        '|[02468][048]00|[13579][26]00)-02-29)'
        '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?'
        '(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?$'
        and left({{ value }}, 4) <> '0000'
        then cast(
            {{ value }}
            || case
                when
                    {{ value }}
                    ~ '(Z|[+-][0-9]{2}:?[0-9]{2})$'
                    then ''
                when
                    length({{ value }}) = 10
                    then ' 00:00Z'
                else 'Z'
            end as timestamptz
        )
end
{%- endmacro -%}
