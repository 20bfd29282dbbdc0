{#-
    Every element of the arrays of documents, as CTEs; no comma at the end.

    app_state_items() expects the CTE documents of app_state_documents(). Defines
    arrays(user_id, entity, array_key, array_value, array_type) and, last, items(user_id, entity,
    source_position, item, source_id, target_id, has_id, reason): reason is NULL if the item can be
    moved. source_position counts from 1.

    Ids are unique per user and entity only, so the id of the row is made of all three. An item
    without an id gets one from a hash of its content.
-#}
{%- macro app_state_items() -%}
entities (entity, array_key, snake_key) as (
    values
    {%- for name, entity in trueup.app_state_entities().items() %}
    ('{{ name }}', '{{ entity.key }}', '{{ name }}'){{ ',' if not loop.last }}
    {%- endfor %}
),

spelled_arrays as (
    select
        documents.user_id,
        documents.state,
        entities.entity,
        case
            when documents.state ? entities.array_key then entities.array_key
            else entities.snake_key
        end as array_key
    from documents
    cross join entities
    where
        documents.reason is null
        and (documents.state ? entities.array_key or documents.state ? entities.snake_key)
),

arrays as (
    select
        spelled_arrays.user_id,
        spelled_arrays.entity,
        spelled_arrays.array_key,
        spelled_arrays.state -> spelled_arrays.array_key as array_value,
        jsonb_typeof(spelled_arrays.state -> spelled_arrays.array_key) as array_type
    from spelled_arrays
),

elements as (
    select
        arrays.user_id,
        arrays.entity,
        element.place as source_position,
        element.item,
        jsonb_typeof(element.item) = 'object' as is_object,
        case
            when jsonb_typeof(element.item -> 'id') in ('string', 'number')
                then nullif(element.item ->> 'id', '')
        end as item_id
    from arrays
    cross join
        lateral jsonb_array_elements(
            case when arrays.array_type = 'array' then arrays.array_value else '[]' end
        ) with ordinality as element (item, place)
),

identified_items as (
    select
        elements.*,
        coalesce(
            elements.item_id, 'no-id-' || md5(cast(elements.item as text))
        ) as first_source_id,
        row_number() over (
            partition by
                elements.user_id,
                elements.entity,
                coalesce(elements.item_id, 'no-id-' || md5(cast(elements.item as text)))
            order by elements.source_position
        ) as copy_number
    from elements
),

named_items as (
    select
        identified_items.*,
        identified_items.first_source_id || case
            when identified_items.item_id is null and identified_items.copy_number > 1
                then '-' || identified_items.copy_number
            else ''
        end as source_id,
        case
            when not identified_items.is_object then 'item_no_object'
            when identified_items.item_id is not null and identified_items.copy_number > 1
                then 'duplicate_id'
        end as reason
    from identified_items
),

items as (
    select
        named_items.user_id,
        named_items.entity,
        named_items.source_position,
        named_items.item,
        named_items.source_id,
        named_items.item_id is not null as has_id,
        named_items.reason,
        cast(
            md5(
                cast(
                    jsonb_build_array(
                        named_items.user_id, named_items.entity, named_items.source_id
                    ) as text
                )
            ) as uuid
        ) as target_id
    from named_items
)
{%- endmacro -%}
