-- Named statements of a run that takes back what another has written to migration_audit, the same
-- for all kinds. Those of its tables are made by the macro row_image_undo() where the kind stands.

-- name: run__keys_to_undo(batch_id)
-- The units of a batch: each is a transaction of its own.
select images.unit
from {{ ref('stage_migration_batches') }} as batches
inner join {{ ref('migration_audit') }} as images
    on batches.reverts_batch_id = images.batch_id
where batches.batch_id = $1
group by images.unit
order by images.unit;
