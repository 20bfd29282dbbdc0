-- Named statements of a run that takes back what another has written to migration_audit, the same
-- for all kinds. Those of its tables are made by the macro row_image_undo() where the kind stands.

-- name: run__keys_to_undo(batch_ids)
-- The units of batches: each is a transaction of its own.
with units as (
    select distinct
        batches.batch_id,
        images.unit
    from {{ ref('stage_migration_batches') }} as batches
    inner join {{ ref('migration_audit') }} as images
        on batches.reverts_batch_id = images.batch_id
    where batches.batch_id = any(cast($1 as bigint[]))
),

final as (
    select
        units.batch_id,
        count(*) as key_total,
        array_agg(cast(units.unit as text) order by units.unit) as key_1
    from units
    group by units.batch_id
)

select * from final;
