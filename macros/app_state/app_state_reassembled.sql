{#-
    Every user's document as the tables have it, as a query: user_id, state. It is the text of the
    view app_state_documents.

    Rows that the application has added since are among them, after the others, with their own id.
-#}
{%- macro app_state_reassembled() -%}
{%- set entities = trueup.app_state_entities() -%}
with entities (entity, array_key) as (
    values
    {%- for name, known in entities.items() %}
    ('{{ name }}', '{{ known.key }}'){{ ',' if not loop.last }}
    {%- endfor %}
),

{% for name, known in entities.items() -%}
{{ name }}_shown as (
    select
        application.user_id,
        application.source_position,
        application.id,
        application.extra
        {%- for column, each in known.columns.items() %},
        application.{{ trueup.quoted(column) }}
        {%- endfor %},
        coalesce(application.source_id, cast(application.id as text)) as source_id
        {%- for column in known.parents %},
        application.{{ column }},
        coalesce(parents_{{ loop.index }}.source_id, cast(parents_{{ loop.index }}.id as text))
            as {{ column }}_source
        {%- endfor %}
    from {{ trueup.target_table({'table': name}) }} as application
    {%- for column, parent in known.parents.items() %}
    left join {{ trueup.target_table({'table': parent}) }} as parents_{{ loop.index }}
        on application.{{ column }} = parents_{{ loop.index }}.id
    {%- endfor %}
),

{{ name }}_printed as (
    select
        {{ name }}_shown.user_id,
        {{ name }}_shown.source_position,
        {{ name }}_shown.id,
        {{ name }}_shown.extra,
        {{ trueup.app_state_printed(name, name ~ '_shown') | indent(8) }} as printed
    from {{ name }}_shown
),

{% endfor -%}
all_items as (
    {%- for name in entities %}
    select
        shown.user_id,
        '{{ name }}' as entity,
        shown.source_position,
        shown.id,
        {{ trueup.app_state_item('shown') | indent(8) }} as item
    from {{ name }}_printed as shown
    union all
    {%- endfor %}
    select
        documents_rest.user_id,
        refused.item ->> 'entity' as entity,
        cast(refused.item ->> 'position' as bigint) as source_position,
        cast(null as uuid) as id,
        refused.item -> 'item' as item
    from {{ trueup.target_table({'table': 'documents_rest'}) }} as documents_rest
    cross join lateral jsonb_array_elements(documents_rest.refused) as refused (item)
),

item_lists as (
    select
        all_items.user_id,
        all_items.entity,
        jsonb_agg(
            all_items.item order by all_items.source_position nulls last, all_items.id
        ) as item_list
    from all_items
    group by
        all_items.user_id,
        all_items.entity
),

documents as (
    select
        documents_rest.user_id,
        documents_rest.rest,
        coalesce(documents_rest.arrays ->> entities.entity, entities.array_key) as array_key,
        case
            when documents_rest.arrays ? entities.entity
                then coalesce(item_lists.item_list, '[]')
            else item_lists.item_list
        end as item_list
    from {{ trueup.target_table({'table': 'documents_rest'}) }} as documents_rest
    cross join entities
    left join item_lists
        on
            documents_rest.user_id = item_lists.user_id
            and entities.entity = item_lists.entity
)

select
    documents.user_id,
    documents.rest || coalesce(
        jsonb_object_agg(documents.array_key, documents.item_list)
            filter (where documents.item_list is not null),
        '{}'
    ) as state
from documents
group by
    documents.user_id,
    documents.rest
{%- endmacro -%}
