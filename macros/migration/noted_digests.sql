{#-
    Writes down the digests of the audit of a run, $1, and of its batches: a CTE and the statement
    after it. Expects the CTEs batch_digests and run_digests, both with audit_digest.
-#}
{%- macro noted_digests() -%}
noted_batches as (
    update {{ ref('stage_migration_batches') }} as noted
    set
        audit_digest = batch_digests.audit_digest,
        updated_at = now()
    from batch_digests
    where
        noted.run_id = $1
        and noted.batch_id = batch_digests.batch_id
    returning noted.batch_id
)

update {{ ref('migration_runs') }} as runs
set audit_digest = run_digests.audit_digest
from run_digests
where runs.run_id = $1
returning
    runs.audit_digest,
    (select count(*) as noted_batches from noted_batches) as noted_batches
{%- endmacro -%}
