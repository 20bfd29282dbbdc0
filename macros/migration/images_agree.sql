{#-
    The named statement of a check of `trueup verify` for a run that writes whole rows: as many
    images as rows that its batches have counted, and every row as the run left it.
    images_agree('app_state', targets, {'table': 'user_app_state', 'column': 'state'}) →
        -- name: app_state__images_agree(run_id, most) ...
    targets: as row_image_undo() has them
-#}
{%- macro images_agree(prefix, targets, place) -%}
-- name: {{ prefix }}__images_agree(run_id, most)
-- As many images as rows that the batches have counted, and every row as the run left it.
with {{ trueup.run_images(targets) }},

batch_counts as (
    select
        batches.batch_id,
        batches.rows_updated,
        count(images.row_key) as image_total
    from {{ ref('stage_migration_batches') }} as batches
    left join {{ ref('migration_audit') }} as images on batches.batch_id = images.batch_id
    where batches.run_id = $1
    group by
        batches.batch_id,
        batches.rows_updated
),

totals as (
    select count(*) as looked_at
    from run_images
),

offenders as (
    select
        run_images.row_key,
        'warn' as status,
        run_images.table_name || ' ' || run_images.row_key || ' of '
        || array_to_string(run_images.unit, ' ') || ' was changed since' as message
    from run_images
    where not run_images.is_as_written
    union all
    select
        null as row_key,
        'fail' as status,
        'batch ' || batch_counts.batch_id || ': ' || batch_counts.rows_updated
        || ' rows counted, ' || batch_counts.image_total || ' images' as message
    from batch_counts
    where batch_counts.rows_updated <> batch_counts.image_total
),

{{ trueup.check_answer('images_agree', 'images', place) }}
{%- endmacro -%}
