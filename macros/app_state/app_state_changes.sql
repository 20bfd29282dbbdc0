{#-
    What becomes of every row of the tables when documents are moved, as CTEs; no comma at the end.
    The one place that decides it, for the plan and for the write.

    app_state_changes(locks=true) expects the CTE source_rows: rows of user_app_state.
    Defines the CTEs of app_state_documents() and app_state_items(), for each table <table>_rows and
    <table>_changes (with all its columns, action, image_row), and
    changes(user_id, table_name, row_key, source_id, action) and
    refused(user_id, row_key, source, reason, value_before).

    action: insert, update, delete, noop; edited: somebody has changed the row since a run wrote it,
    so it stays. Rows that no run wrote and no item has are the application's: not among them.
    locks: rows that may be written are locked
-#}
{%- macro app_state_changes(locks=false) -%}
{{ trueup.app_state_documents() }},

{{ trueup.app_state_items() }},

{{ trueup.app_state_item_ids() }},

{% for entity in trueup.app_state_entities() -%}
{{ trueup.app_state_rows(entity) }},

{% endfor -%}
kept_arrays as (
    select
        arrays.user_id,
        jsonb_object_agg(arrays.entity, arrays.array_key) as array_keys,
        array_agg(arrays.array_key) as moved_keys
    from arrays
    where arrays.array_type = 'array'
    group by arrays.user_id
),

kept_items as (
    select
        items.user_id,
        jsonb_agg(
            jsonb_build_object(
                'entity', items.entity,
                'position', items.source_position,
                'reason', items.reason,
                'item', items.item
            )
            order by items.entity, items.source_position
        ) as refused_items
    from items
    where items.reason is not null
    group by items.user_id
),

documents_rest_rows as (
    select
        documents.user_id,
        documents.row_id,
        documents.version,
        documents.updated_at,
        md5(cast(documents.state as text)) as document_md5,
        coalesce(kept_arrays.array_keys, '{}') as arrays,
        coalesce(kept_items.refused_items, '[]') as refused,
        documents.state - coalesce(kept_arrays.moved_keys, '{}') as rest,
        cast(null as text) as source_id
    from documents
    left join kept_arrays on documents.user_id = kept_arrays.user_id
    left join kept_items on documents.user_id = kept_items.user_id
    where documents.reason is null
),

{% for target in trueup.app_state_targets() -%}
{%- set table = target.table -%}
{%- set key = target.key.keys() | first -%}
{{ table }}_now as {{ trueup.computed_once() }} (
    select
        application.user_id,
        application.{{ key }} as row_id,
        {%- if table != 'documents_rest' %}
        coalesce(kept_arrays.array_keys ? '{{ table }}', false) as has_array,
        {%- endif %}
        application as image_row
    from documents
    inner join {{ trueup.target_table(target) }} as application
        on documents.user_id = application.user_id
    {%- if table != 'documents_rest' %}
    left join kept_arrays on documents.user_id = kept_arrays.user_id
    {%- endif %}
    where documents.reason is null
    {%- if locks %}
    for update of application
    {%- endif %}
),

{{ table }}_changes as {{ trueup.computed_once() }} (
    select
        {{ table }}_rows.*,
        present.image_row,
        coalesce({{ table }}_rows.user_id, present.user_id) as owner_id,
        cast(coalesce({{ table }}_rows.{{ key }}, present.row_id) as text) as row_key,
        case
            when present.row_id is null then 'insert'
            when
                exists (
                    select
                        {%- for column in target.columns %}
                        {{ table }}_rows.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
                        {%- endfor %}
                    intersect
                    select
                        {%- for column in target.columns %}
                        (present.image_row).{{ trueup.quoted(column) }}
                            as {{ trueup.quoted(column) }}{{ ',' if not loop.last }}
                        {%- endfor %}
                )
                then 'noop'
            when
                exists (
                    select 1 as found
                    from {{ ref('migration_audit') }} as images
                    where
                        {{ trueup.of_target(target, 'images') | indent(24) }}
                        and images.row_key = cast(present.row_id as text)
                        and images.after_hash
                        = {{ trueup.row_hash('present.image_row') | indent(24) }}
                )
                then case when {{ table }}_rows.user_id is null then 'delete' else 'update' end
            when {{ table }}_rows.user_id is not null then 'edited'
        end as action
    from {{ table }}_rows
    full join {{ table }}_now as present on {{ table }}_rows.{{ key }} = present.row_id
    {%- if table != 'documents_rest' %}
    -- a document without the array says nothing about its rows
    where {{ table }}_rows.user_id is not null or present.has_array
    {%- endif %}
),

{% endfor -%}
changes as (
    {%- for target in trueup.app_state_targets() %}
    select
        {{ target.table }}_changes.owner_id as user_id,
        '{{ target.table }}' as table_name,
        {{ target.table }}_changes.row_key,
        {{ target.table }}_changes.source_id,
        {{ target.table }}_changes.action
    from {{ target.table }}_changes
    where {{ target.table }}_changes.action is not null
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

refused_parts as (
    select
        documents.user_id,
        'row ' || documents.row_id as source,
        documents.reason,
        cast(null as text) as value_before
    from documents
    where documents.reason is not null
    union all
    select
        arrays.user_id,
        arrays.entity as source,
        'no_array' as reason,
        cast(arrays.array_value as text) as value_before
    from arrays
    where arrays.array_type not in ('array', 'null')
    union all
    select
        items.user_id,
        items.entity || '[' || items.source_position || ']' as source,
        items.reason,
        cast(items.item as text) as value_before
    from items
    where items.reason is not null
    union all
    select
        changes.user_id,
        changes.table_name || ' ' || changes.row_key as source,
        'edited' as reason,
        cast(null as text) as value_before
    from changes
    where changes.action = 'edited'
),

reasons (reason, message) as (
    values
    {%- for reason, message in trueup.app_state_reasons().items() %}
    ('{{ reason }}', {{ trueup.literal(message) }}){{ ',' if not loop.last }}
    {%- endfor %}
),

refused as (
    select
        refused_parts.user_id,
        trim(refused_parts.user_id || ' ' || refused_parts.source) as row_key,
        refused_parts.source,
        refused_parts.value_before,
        reasons.reason || ': ' || reasons.message as reason
    from refused_parts
    inner join reasons on refused_parts.reason = reasons.reason
)
{%- endmacro -%}
