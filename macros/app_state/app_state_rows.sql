{#-
    The rows of one entity's table as its items make them, as CTEs; no comma at the end.

    app_state_rows('orgs') expects the CTEs items and item_ids. Defines, last,
    orgs_rows(id, user_id, source_id, source_position, <parents>, <columns>, extra).
-#}
{%- macro app_state_rows(entity) -%}
{%- set known = trueup.app_state_entities()[entity] -%}
{%- set between = "'\n            '" -%}
{%- set own_keys = known.own_keys.keys() | join(', ') | wordwrap(72, wrapstring=between) -%}
{{ entity }}_given as (
    select
        items.user_id,
        items.target_id as id,
        items.source_id,
        items.source_position,
        items.item
        {%- for column, each in known.columns.items() %},
        {%- set arrow = '->>' if each.type == 'timestamptz' else '->' %}
        {%- if each.key == column %}
        items.item {{ arrow }} '{{ column }}' as {{ trueup.quoted(column) }}
        {%- else %}
        coalesce(items.item {{ arrow }} '{{ each.key }}', items.item {{ arrow }} '{{ column }}')
            as {{ trueup.quoted(column) }}
        {%- endif %}
        {%- endfor %}
        {%- for column, key in known.parent_keys.items() %},
        coalesce(items.item -> '{{ key }}', items.item -> '{{ column }}')
            as given_{{ column }}
        {%- endfor %}
    from items
    where
        items.entity = '{{ entity }}'
        and items.reason is null
),

{{ entity }}_typed as (
    select
        {{ entity }}_given.user_id,
        {{ entity }}_given.id,
        {{ entity }}_given.source_id,
        {{ entity }}_given.source_position,
        {{ entity }}_given.item
        {%- for column, each in known.columns.items() %},
        {{ trueup.app_state_value(
            entity ~ '_given.' ~ trueup.quoted(column), each.type
        ) | indent(8) }} as {{ trueup.quoted(column) }}
        {%- endfor %}
        {%- for column, parent in known.parents.items() %},
        cast(
            item_ids.target_ids ->> (
                '{{ parent }} ' || ({{ entity }}_given.given_{{ column }} #>> '{}')
            ) as uuid
        ) as {{ column }},
        {{ entity }}_given.given_{{ column }} not in ('null', '""') as has_{{ column }},
        {{ entity }}_given.given_{{ column }} #>> '{}' as {{ column }}_source
        {%- endfor %}
    from {{ entity }}_given
    {%- if known.parents %}
    -- hashed or merged, never looked through for each item; users without such items are left out
    full join item_ids on {{ entity }}_given.user_id = item_ids.user_id
    where coalesce({{ entity }}_given.id is not null, false)
    {%- endif %}
),

{{ entity }}_printed as {{ trueup.computed_once() }} (
    select
        {{ entity }}_typed.*,
        {{ trueup.app_state_printed(entity, entity ~ '_typed') | indent(8) }} as printed,
        {{ entity }}_typed.item - cast(
            '{{ '{' ~ own_keys ~ '}' }}' as text[]
        ) as rest,
        {%- if known.parents %}
        to_jsonb(
            array_remove(
                array[
                    {%- for column, key in known.parent_keys.items() %}
                    case
                        when
                            {{ entity }}_typed.{{ column }} is null
                            and {{ entity }}_typed.has_{{ column }}
                            then '{{ key }}'
                    end{{ ',' if not loop.last }}
                    {%- endfor %}
                ],
                null
            )
        ) as dangling
        {%- else %}
        cast('[]' as jsonb) as dangling
        {%- endif %}
    from {{ entity }}_typed
),

{{ entity }}_rows as (
    select
        {%- for column in trueup.app_state_columns(entity) if column != 'extra' %}
        {{ entity }}_printed.{{ trueup.quoted(column) }},
        {%- endfor %}
        {{ trueup.app_state_extra(entity, entity ~ '_printed') | indent(8) }} as extra
    from {{ entity }}_printed
)
{%- endmacro -%}
