{#-
    The end of a statement that writes whole rows of one table, or of several: their images and the
    progress of the batch, from the CTE `recorded` on to the answer. The one place that writes
    migration_audit.

    recorded_images({'table': 'app_orgs'}, listed_unit('$3', '$4')) expects the CTEs of held_batch()
    and written_rows(row_key, before_image, after_hash): what the row was before this statement
    (NULL: it was not there), and row_hash() of what it is now (NULL: it is gone). The unit is an
    array of texts. Answers with rows_changed, one row; none if the batch is not held.

    recorded_images(none, unit, refused=true): written_rows also has table_name, of the schema
    app_schema, and source_id; and the CTE refused(row_key, source, value_before, reason) has what
    of the unit is not written: it goes into the quarantine, once.

    A row that the run writes twice keeps its first image, and counts once. What is new is told by
    the INSERT itself: a join with the run's images would look through all of them for each row.

    Trap: what the row was must be read, `for update`, by what feeds the write. A CTE that is only
    joined to what the write returns may be read after the write, and finds nothing then.
-#}
{%- macro recorded_images(target, unit, refused=false) -%}
{%- set given = target or {} -%}
{%- set schema = trueup.literal(given.get('schema') or var('app_schema', 'public')) -%}
{%- set table = trueup.literal(target.table) if target else 'written_rows.table_name' -%}
recorded as (
    insert into {{ ref('migration_audit') }} as images (
        run_id, batch_id, unit, schema_name, table_name, row_key, source_id, action, before_image,
        after_hash
    )
    select
        fence.run_id,
        fence.batch_id,
        {{ unit }} as unit,
        {{ schema }} as schema_name,
        {{ table }} as table_name,
        written_rows.row_key,
        {{ 'cast(null as text) as source_id' if target else 'written_rows.source_id' }},
        {{ trueup._image_action('written_rows', 'written_rows') | indent(8) }} as action,
        written_rows.before_image,
        written_rows.after_hash
    from fence
    cross join written_rows
    on conflict (run_id, schema_name, table_name, row_key) do update
        set
            action = {{ trueup._image_action('images', 'excluded') | indent(12) }},
            after_hash = excluded.after_hash
    -- PostgreSQL has locked a row that was there before it updated it
    returning cast(images.xmax as text) = '0' as is_new
),

new_rows as (
    select count(*) as row_count
    from recorded
    where recorded.is_new
),

{% if refused -%}
new_refusals as (
    select refused.*
    from refused
    where
        not exists (
            select 1 as found
            from fence
            inner join {{ ref('migration_quarantine') }} as known
                on fence.run_id = known.run_id
            where known.row_key = refused.row_key
        )
),

recorded_refusals as (
    insert into {{ ref('migration_quarantine') }} (
        run_id, batch_id, schema_name, table_name, column_name, row_key, value_before, source,
        reason
    )
    select
        fence.run_id,
        fence.batch_id,
        fence.schema_name,
        fence.table_name,
        fence.column_name,
        new_refusals.row_key,
        new_refusals.value_before,
        new_refusals.source,
        new_refusals.reason
    from fence
    cross join new_refusals
    returning row_key
),

refusals as (
    select count(*) as row_count
    from new_refusals
)
{%- else -%}
refusals as (
    select 0 as row_count
)
{%- endif %}

update {{ ref('stage_migration_batches') }} as batches
set
    rows_updated = batches.rows_updated + new_rows.row_count,
    rows_failed = batches.rows_failed + refusals.row_count,
    updated_at = now()
from fence
cross join new_rows
cross join refusals
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
