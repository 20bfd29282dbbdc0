{#-
    The column `extra` of a row: what is in its item and in no column. Together with the columns it
    gives the item back as it was, key by key; app_state_item() does that.

    app_state_extra('orgs', 'orgs_printed') → orgs_printed.rest || case ...

    rows: a relation with item, its rest without the keys of columns, printed (see
    app_state_printed), and dangling: jsonb, the keys of parents that are not in the document.

    The item's other keys stay as they are. What its columns do not give back is under `_trueup`:
    kept      {key: {is: the item's own value, of: the column's key, was: its value as printed}}
    omit      keys that the columns give and the item lacks
    dangling  keys that name a parent which is not in the document
-#}
{%- macro app_state_extra(entity, rows) -%}
{%- set keys = trueup.app_state_entities()[entity].own_keys -%}
{{ rows }}.rest
|| case
    when
        {{ rows }}.dangling = '[]'
        and {{ rows }}.item
        = {{ rows }}.rest || {{ rows }}.printed
        then '{}'
    else jsonb_build_object(
        '_trueup', jsonb_build_object(
            'kept', (
                select
                    coalesce(
                        jsonb_object_agg(
                            own.name,
                            jsonb_build_object(
                                'is', own.value,
                                'of', spelled.key,
                                'was', {{ rows }}.printed -> spelled.key
                            )
                        ),
                        '{}'
                    ) as kept
                from jsonb_each({{ rows }}.item) as own (name, value)
                inner join
                    (
                        values
                        {%- for name, key in keys.items() %}
                        ('{{ name }}', '{{ key }}'){{ ',' if not loop.last }}
                        {%- endfor %}
                    ) as spelled (name, key)
                    on own.name = spelled.name
                where
                    {{ rows }}.printed -> own.name is distinct from own.value
            ),
            'omit', (
                select coalesce(jsonb_agg(given.key), '[]') as omitted
                from jsonb_object_keys({{ rows }}.printed) as given (key)
                where not {{ rows }}.item ? given.key
            ),
            'dangling', {{ rows }}.dangling
        )
    )
end
{%- endmacro -%}
