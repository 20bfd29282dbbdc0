{#-
    Every row that an undo is about, and why it stays as it is, as CTEs; no comma at the end. The
    one place that decides it, for the plan of an undo and for its end.

    judged_images(targets, '$1') expects the tables as row_image_undo() has them, the id of the undo
    as SQL, and the CTE undone_batches(batch_id). It defines, last, judged_rows(batch_id, unit,
    table_name, row_key, action, before_image, image_now, reason): reason is NULL if the row can be
    undone. What this undo has undone already is not among them.

    A row whose children stay must stay, so children are judged before their parents.
-#}
{%- macro judged_images(targets, run_id) -%}
images as (
    select * from {{ ref('migration_audit') }}
),

undone_images as {{ trueup.computed_once() }} (
    select images.*
    from undone_batches
    inner join images
        on undone_batches.batch_id = images.batch_id
    where
        images.action <> 'noop'
        and not exists (
            select 1 as found
            from images as own_images
            where
                own_images.run_id = {{ run_id }}
                and own_images.schema_name = images.schema_name
                and own_images.table_name = images.table_name
                and own_images.row_key = images.row_key
        )
),

{%- set places = {} %}
{%- for target in targets %}
{%- do places.update({target.table: loop.index}) %}
{%- endfor %}

{% for target in targets -%}
{%- set place = loop.index -%}
{%- for child, columns in target.get('children', {}).items() -%}
referenced_{{ place }}_{{ loop.index }} as (
    -- keys with children that stay
    select distinct
        {%- for column in columns %}
        {{- '\n        ' if columns | length > 1 else ' ' -}}
        children.{{ trueup.quoted(column) }} as key_{{ loop.index }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ trueup.target_table(targets[places[child] - 1]) }} as children
    left join judged_{{ places[child] }} as judged
        on
            judged.row_key
            = {{ trueup.key_text(targets[places[child] - 1].key, 'children') | indent(12) }}
    where
        judged.row_key is null
        or judged.reason is not null
        or judged.action <> 'insert'
),

{% endfor -%}
found_{{ place }} as {{ trueup.computed_once() }} (
    select
        undone_images.*,
        application.{{ trueup.quoted(target.key.keys() | first) }} is null as is_gone,
        to_jsonb(application) as image_now,
        {{ trueup.row_hash('application') | indent(8) }} as hash_now,
        {%- for child in target.get('children', {}) %}
        {{ 'or ' if not loop.first }}referenced_{{ place }}_{{ loop.index }}.key_1 is not null
        {%- else %}
        false
        {%- endfor %} as is_referenced
    from undone_images
    left join {{ trueup.target_table(target) }} as application
        on
            undone_images.row_key
            = {{ trueup.key_text(target.key, 'application') | indent(12) }}
    {%- for child, columns in target.get('children', {}).items() %}
    {%- set referenced = 'referenced_' ~ place ~ '_' ~ loop.index %}
    left join {{ referenced }}
        on
            {%- for own in columns.values() %}
            {{ 'and ' if not loop.first }}application.{{ trueup.quoted(own) }}
            {{- ' = ' ~ referenced ~ '.key_' ~ loop.index }}
            {%- endfor %}
    {%- endfor %}
    where
        {{ trueup.of_target(target, 'undone_images') | indent(8) }}
),

judged_{{ place }} as (
    select
        found_{{ place }}.*,
        case
            when found_{{ place }}.action = 'delete' and found_{{ place }}.is_gone then null
            when found_{{ place }}.action = 'delete' then 'inserted again'
            when found_{{ place }}.is_gone then 'deleted'
            when
                found_{{ place }}.hash_now <> found_{{ place }}.after_hash
                and exists (
                    select 1 as found
                    from images as later_images
                    where
                        later_images.schema_name = found_{{ place }}.schema_name
                        and later_images.table_name = found_{{ place }}.table_name
                        and later_images.row_key = found_{{ place }}.row_key
                        and later_images.run_id <> found_{{ place }}.run_id
                        and later_images.after_hash = found_{{ place }}.hash_now
                )
                then 'changed by a later run'
            when found_{{ place }}.hash_now <> found_{{ place }}.after_hash then 'edited'
            when found_{{ place }}.action = 'insert' and found_{{ place }}.is_referenced
                then 'still referenced'
        end as reason
    from found_{{ place }}
),

{% endfor -%}
judged_rows as (
    {%- for target in targets %}
    select * from judged_{{ loop.index }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
