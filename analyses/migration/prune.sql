-- Named statements of `trueup ledger prune`. Two underscores in every name: they belong to no run,
-- so no plan stores them.
{%- set old_runs %}
runs as (
    select * from {{ ref('migration_runs') }}
),

control as (
    select * from {{ ref('stage_migration_control') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

quarantine as (
    select * from {{ ref('migration_quarantine') }}
),

conflicts as (
    select * from {{ ref('migration_conflicts') }}
),

images as (
    select * from {{ ref('migration_audit') }}
),

numbered_runs as (
    select
        runs.run_id,
        row_number() over (order by runs.planned_at desc) as place,
        row_number() over (
            partition by runs.kind, runs.status
            order by runs.planned_at desc
        ) as place_by_status
    from runs
),

-- Ended before that time and not needed in full: `trueup status` shows the newest run, `trueup
-- verify` reads the newest completed ones, and a run that is being rolled back is in use.
old_runs as {{ computed_once() }} (
    select
        runs.run_id,
        runs.kind,
        runs.status,
        runs.finished_at,
        -- nothing was done, so nothing was recorded
        runs.reverts_run_id is null
        and not exists (
            select 1 as found
            from runs as rollbacks
            where rollbacks.reverts_run_id = runs.run_id
        )
        and not exists (
            select 1 as found
            from changes
            where changes.run_id = runs.run_id
        )
        and not exists (
            select 1 as found
            from images
            where images.run_id = runs.run_id
        )
        and not exists (
            select 1 as found
            from quarantine
            where quarantine.run_id = runs.run_id
        )
        and not exists (
            select 1 as found
            from conflicts
            where conflicts.run_id = runs.run_id
        )
        and not exists (
            select 1 as found
            from batches
            where
                batches.run_id = runs.run_id
                and (batches.rows_updated > 0 or batches.rows_failed > 0)
        ) as is_empty
    from runs
    inner join numbered_runs
        on runs.run_id = numbered_runs.run_id
    where
        runs.status in ('completed', 'cancelled')
        and {{ picked_by('runs', 'prune') }}
        and runs.finished_at < cast($1 as timestamptz)
        and numbered_runs.place > 1
        and (runs.status = 'cancelled' or numbered_runs.place_by_status > 1)
        and not exists (
            select 1 as found
            from control
            where
                control.run_id = runs.run_id
                and control.lease_until >= now()
        )
        and not exists (
            select 1 as found
            from runs as rollbacks
            where
                rollbacks.reverts_run_id = runs.run_id
                and rollbacks.status not in ('completed', 'cancelled')
        )
)
{%- endset %}
{#- The tables whose rows may be deleted; a preview lists the other tables as untouched. -#}
{%- set thinned = [
    'migration_baselines',
    'migration_value_map',
    'stage_migration_batches',
    'stage_migration_control',
    'verification_results',
    'verification_runs',
    'migration_runs',
] %}
{%- set conditions = {
    'migration_baselines': 'old_runs.run_id is not null',
    'migration_value_map':
        'old_runs.is_empty or (old_runs.run_id is not null and entries.map_id is null)',
} %}
{%- set kept = [
    'stage_normalization_changes',
    'migration_audit',
    'migration_quarantine',
    'migration_conflicts',
] %}

-- name: prune__unfinished(ended_before)
-- Runs and plans from before that time that were not closed: pruning leaves them alone.
select count(*) as run_count
from {{ ref('migration_runs') }} as runs
where
    runs.status not in ('completed', 'cancelled')
    and runs.planned_at < cast($1 as timestamptz);

-- name: prune__missing_rights()
-- The tables of which this role may not delete rows, by owner.
select
    pg_get_userbyid(pg_class.relowner) as owner_name,
    string_agg(cast(pg_class.relname as text), ', ' order by pg_class.relname) as table_names
from pg_catalog.pg_class
where
    pg_class.oid = any(array[
        {%- for table in thinned %}
        to_regclass('{{ ref(table) }}')
        {{- ',' if not loop.last }}
        {%- endfor %}
    ])
    and not has_table_privilege(pg_class.oid, 'delete')
group by pg_class.relowner;

-- name: prune__runs(ended_before)
-- The runs that pruning concerns: runs that changed nothing are deleted; all others lose the rows
-- that only planning and verification need.
with {{ old_runs | trim }}

select
    old_runs.run_id,
    old_runs.kind,
    old_runs.status,
    old_runs.finished_at,
    old_runs.is_empty as is_removed_whole
from old_runs
order by old_runs.finished_at;

-- name: prune__totals(ended_before)
-- Per table: rows that would be deleted with their size in bytes, and rows that would stay.
with {{ old_runs | trim }},

counted_tables as (
    {%- for table in thinned + kept %}
    {%- set condition = conditions.get(table, 'old_runs.is_empty') %}
    select
        '{{ table }}' as table_name,
        count(*) as row_total,
        count(*) filter (
            where {{ condition }}
        ) as rows_removed,
        coalesce(
            sum(pg_column_size(entries.*)) filter (
                where {{ condition }}
            ),
            0
        ) as bytes_removed
    from {{ ref(table) }} as entries
    left join old_runs
        on entries.run_id = old_runs.run_id
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select
    counted_tables.table_name,
    counted_tables.rows_removed,
    cast(counted_tables.bytes_removed as bigint) as bytes_removed,
    counted_tables.row_total - counted_tables.rows_removed as rows_kept
from counted_tables;

-- name: prune__remove(ended_before)
-- Deletes these rows from all tables in one statement, which sees one state of the ledger. Audit
-- entries, row images, quarantine and conflicts are never deleted, nor a mapping, batch or run they
-- refer to.
with {{ old_runs | trim }},

{% for table in thinned -%}
removed_{{ table }} as (
    delete from {{ ref(table) }} as entries
    using old_runs
    where
        entries.run_id = old_runs.run_id
        {%- if table == 'migration_value_map' %}
        and (old_runs.is_empty or entries.map_id is null)
        {%- elif table != 'migration_baselines' %}
        and old_runs.is_empty
        {%- endif %}
    returning entries.run_id
),

{% endfor -%}
counted_tables as (
    {%- for table in thinned %}
    select
        '{{ table }}' as table_name,
        count(*) as rows_removed
    from removed_{{ table }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select * from counted_tables;
