-- Named statements that tell people about documents before they are moved.
{%- if app_state_settings().enabled %}
{%- set place = {'table': 'user_app_state', 'column': 'state'} %}

-- name: app_state__notes(user_ids)
-- What a person should know of the documents before they are moved; nothing of it is lost.
-- user_ids: NULL for all.
with {{ app_state_source_rows('$1') }},

{{ app_state_documents() }},

{{ app_state_items() }},

{{ app_state_item_ids() }},

{% for entity in app_state_entities() -%}
{{ app_state_rows(entity) }},

{% endfor -%}
marked_rows as (
    {%- for entity in app_state_entities() %}
    select
        {{ entity }}_rows.user_id,
        '{{ entity }}' as entity,
        {{ entity }}_rows.source_position,
        {{ entity }}_rows.extra -> '_trueup' as marks
    from {{ entity }}_rows
    where {{ entity }}_rows.extra ? '_trueup'
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

marks as (
    select
        'app_state__no_ids' as code,
        items.user_id || ' ' || items.entity || '[' || items.source_position || ']' as place
    from items
    where
        items.reason is null
        and not items.has_id
    union all
    select
        'app_state__dangling' as code,
        marked_rows.user_id || ' ' || marked_rows.entity || '[' || marked_rows.source_position
        || '].' || dangling.name as place
    from marked_rows
    cross join lateral jsonb_array_elements_text(marked_rows.marks -> 'dangling') as dangling (name)
    union all
    select
        'app_state__other_types' as code,
        marked_rows.user_id || ' ' || marked_rows.entity || '[' || marked_rows.source_position
        || '].' || kept.name as place
    from marked_rows
    cross join lateral jsonb_each(marked_rows.marks -> 'kept') as kept (name, value)
    where
        kept.name not in ('id', '_trueup')
        and not marked_rows.marks -> 'dangling' ? (kept.value ->> 'of')
        and coalesce(kept.value -> 'was', 'null') = 'null'
        and kept.value -> 'is' not in ('null', '""')
),

counted_rows as (
    select
        count(*) filter (where ranked_rows.place > 1 and ranked_rows.user_id <> '') as older_rows,
        count(distinct ranked_rows.user_id) filter (
            where ranked_rows.place > 1 and ranked_rows.user_id <> ''
        ) as user_total,
        count(*) filter (where ranked_rows.user_id = '') as rows_of_nobody
    from ranked_rows
),

judged as (
    select
        marks.code,
        {{ literal(place.table) }} as subject,
        'warn' as status,
        array[
            cast(count(*) as text),
            array_to_string((array_agg(marks.place order by marks.place))[1:3], ', ')
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        count(*) as rows,
        to_jsonb((array_agg(marks.place order by marks.place))[1:5]) as sample
    from marks
    group by marks.code
    union all
    select
        'app_state__several_rows' as code,
        {{ literal(place.table) }} as subject,
        'warn' as status,
        array[
            cast(counted_rows.user_total as text), cast(counted_rows.rows_of_nobody as text)
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        counted_rows.older_rows + counted_rows.rows_of_nobody as rows,
        cast('[]' as jsonb) as sample
    from counted_rows
    where counted_rows.older_rows + counted_rows.rows_of_nobody > 0
),

{{ finding_rows('app_state', app_state_words()) }}

select * from final;

-- name: app_state__ids(user_ids)
-- The id of each item, old and new.
with {{ app_state_source_rows('$1') }},

{{ app_state_documents() }},

{{ app_state_items() }},

final as (
    select
        items.user_id,
        items.entity,
        items.source_position,
        items.source_id,
        items.reason,
        cast(items.target_id as text) as target_id
    from items
    order by
        items.user_id asc,
        items.entity asc,
        items.source_position asc
)

select * from final;
{%- endif %}
