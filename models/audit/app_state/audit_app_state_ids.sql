-- Old id and new id of every item that runs have moved, with what was done to its row.
with images as (
    select * from {{ ref('migration_audit') }}
),

runs as (
    select * from {{ ref('migration_runs') }}
),

final as (
    select
        images.run_id,
        images.batch_id,
        images.source_id,
        images.table_name as target_table,
        images.row_key as target_id,
        images.action,
        images.created_at,
        'user_app_state' as source_table,
        images.unit[1] as user_id
    from images
    inner join runs on images.run_id = runs.run_id
    where
        runs.kind = 'app_state'
        and images.source_id is not null
)

select * from final
