{#-
    The end of a statement that writes whole rows of one table: their images and the progress of the
    batch, from the CTE `recorded` on to the answer. The one place that writes migration_audit.

    recorded_images({'table': 'app_orgs'}, listed_unit('$3', '$4')) expects the CTEs of held_batch()
    and written_rows(row_key, before_image, after_hash): what the row was before this statement
    (NULL: it was not there), and row_hash() of what it is now (NULL: it is gone). The unit is an
    array of texts. Answers with rows_changed, one row; none if the batch is not held.

    A row that the run writes twice keeps its first image, and counts once.

    Trap: what the row was must be read, `for update`, by what feeds the write. A CTE that is only
    joined to what the write returns may be read after the write, and finds nothing then.
-#}
{%- macro recorded_images(target, unit) -%}
{%- set schema = trueup.literal(target.get('schema') or var('app_schema', 'public')) -%}
new_rows as (
    select count(*) as row_count
    from written_rows
    where
        not exists (
            select 1 as found
            from fence
            inner join {{ ref('migration_audit') }} as images
                on fence.run_id = images.run_id
            where
                images.row_key = written_rows.row_key
                and {{ trueup.of_target(target, 'images') | indent(16) }}
        )
),

recorded as (
    insert into {{ ref('migration_audit') }} as images (
        run_id, batch_id, unit, schema_name, table_name, row_key, action, before_image, after_hash
    )
    select
        fence.run_id,
        fence.batch_id,
        {{ unit }} as unit,
        {{ schema }} as schema_name,
        {{ trueup.literal(target.table) }} as table_name,
        written_rows.row_key,
        {{ trueup._image_action('written_rows', 'written_rows') | indent(8) }} as action,
        written_rows.before_image,
        written_rows.after_hash
    from fence
    cross join written_rows
    on conflict (run_id, schema_name, table_name, row_key) do update
        set
            action = {{ trueup._image_action('images', 'excluded') | indent(12) }},
            after_hash = excluded.after_hash
    returning images.row_key
)

update {{ ref('stage_migration_batches') }} as batches
set
    rows_updated = batches.rows_updated + new_rows.row_count,
    updated_at = now()
from fence
cross join new_rows
where batches.batch_id = fence.batch_id
returning new_rows.row_count as rows_changed
{%- endmacro -%}

{%- macro _image_action(before, after) -%}
case
    when {{ before }}.before_image is null and {{ after }}.after_hash is null then 'noop'
    when {{ before }}.before_image is null then 'insert'
    when {{ after }}.after_hash is null then 'delete'
    else 'update'
end
{%- endmacro -%}
