-- Named statements of `trueup rollback`, before and after its batches: one set per managed column.
-- A rollback is a separate run. These statements join the ledger with a whole table of the
-- application, and write to the ledger only. The statements in revert.sql change rows.
{%- set chosen_places %}
control as (
    select * from {{ ref('stage_migration_control') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

chosen_batches as (
    select
        batches.table_name,
        batches.column_name
    from batches
    where
        batches.run_id = $1
        and batches.batch_id = cast($4 as bigint)
),

named_places as (
    select
        control.table_name,
        control.column_name,
        control.range_end
    from control
    where
        control.run_id = $1
        and (
            cardinality(cast($2 as text[])) = 0
            or control.table_name = any(cast($2 as text[]))
        )
        and (
            cardinality(cast($3 as text[])) = 0
            or control.column_name = any(cast($3 as text[]))
        )
),

chosen_places as (
    select named_places.*
    from named_places
    left join chosen_batches
        on
            named_places.table_name = chosen_batches.table_name
            and named_places.column_name = chosen_batches.column_name
    where
        cast($4 as bigint) is null
        or chosen_batches.table_name is not null
)
{%- endset %}

-- name: rollback__places(run_id, table_names, column_names, batch_id)
-- The columns of a run that are rolled back, with their frozen bound.
with {{ chosen_places | trim }}

select
    chosen_places.table_name,
    chosen_places.column_name,
    chosen_places.range_end
from chosen_places
order by
    chosen_places.table_name,
    chosen_places.column_name;

-- name: rollback__refusals(run_id, table_names, column_names, batch_id)
-- Why a run, or this part of it, cannot be rolled back: a finding row if it cannot.
with {{ chosen_places | trim }},

runs as (
    select
        runs.*,
        left(cast(runs.run_id as text), 8) as short_id
    from {{ ref('migration_runs') }} as runs
    where runs.run_id = $1
),

holders as (
    select min(control.lease_owner) as lease_owner
    from control
    where
        control.run_id = $1
        and control.lease_until >= now()
    having count(*) > 0
),

misnamed as (
    select
        'unknown_table' as code,
        asked.name,
        array(
            select distinct control.table_name
            from control
            where control.run_id = $1
            order by control.table_name
        ) as allowed
    from unnest(cast($2 as text[])) as asked (name)
    union all
    select
        'unknown_column' as code,
        asked.name,
        array(
            select distinct control.column_name
            from control
            where control.run_id = $1
            order by control.column_name
        ) as allowed
    from unnest(cast($3 as text[])) as asked (name)
),

-- what the rollback writes would be refused or rewritten
guarded as (
    select distinct
        scopes.scope,
        recorded.mode
    from chosen_places
    inner join {{ ref('guard_scopes') }} as scopes
        on
            chosen_places.table_name = scopes.table_name
            and chosen_places.column_name = scopes.column_name
    inner join {{ ref('validation_mode_current') }} as recorded on scopes.scope = recorded.scope
    cross join lateral {{ ref('validation_decision') }}(scopes.scope, 'write', null) as decided
    where
        recorded.mode = 'sealed'
        or (recorded.mode = 'enforce' and not decided.is_dry_run)
        or (recorded.mode = 'warn' and recorded.write_only and not decided.is_dry_run)
        or (recorded.mode = 'normalize' and not decided.is_dry_run)
),

refusals as (
    select
        1 as place,
        'never_started' as code,
        array[runs.short_id] as arguments
    from runs
    where runs.status = 'planned'
    union all
    select
        2 as place,
        'still_held' as code,
        array[runs.short_id, holders.lease_owner] as arguments
    from runs
    cross join holders
    union all
    select
        3 as place,
        'still_open' as code,
        array[runs.short_id, replace(runs.status, '_', ' ')] as arguments
    from runs
    where runs.status not in ('planned', 'completed', 'cancelled')
    union all
    select
        4 as place,
        'never_undone' as code,
        array[runs.short_id, runs.kind] as arguments
    from runs
    where runs.record #>> '{rules,undone_by}' is null
    union all
    select
        5 as place,
        misnamed.code,
        array[runs.short_id, misnamed.name, array_to_string(misnamed.allowed, ', ')] as arguments
    from runs
    cross join misnamed
    where misnamed.name <> all(misnamed.allowed)
    union all
    select
        6 as place,
        'no_such_column' as code,
        array[
            runs.short_id,
            array_to_string(cast($3 as text[]), ', '),
            array_to_string(cast($2 as text[]), ', ')
        ] as arguments
    from runs
    where
        not exists (
            select 1 as found
            from named_places
        )
    union all
    select
        7 as place,
        'unknown_batch' as code,
        array[runs.short_id, cast($4 as text)] as arguments
    from runs
    where
        cast($4 as bigint) is not null
        and not exists (
            select 1 as found
            from chosen_batches
        )
    union all
    select
        8 as place,
        'batch_elsewhere' as code,
        array[
            runs.short_id,
            cast($4 as text),
            chosen_batches.table_name || '.' || chosen_batches.column_name
        ] as arguments
    from runs
    cross join chosen_batches
    where
        not exists (
            select 1 as found
            from chosen_places
        )
    union all
    select
        9 as place,
        case when guarded.mode = 'sealed' then 'sealed' else 'guarded' end as code,
        array[runs.short_id, guarded.scope, guarded.mode] as arguments
    from runs
    cross join guarded
),

judged as (
    select
        refusals.code,
        refusals.arguments,
        'fail' as status,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample,
        'run ' || refusals.arguments[1] as subject
    from refusals
    order by refusals.place
    limit 1
),

{{ finding_rows('rollback', rollback_words()) }}

select * from final;

-- name: rollback__earlier(run_id)
-- The newest run that has rolled back something of this one.
select left(cast(runs.run_id as text), 8) as short_id
from {{ ref('migration_runs') }} as runs
where
    runs.reverts_run_id = $1
    and exists (
        select 1 as found
        from {{ ref('stage_migration_batches') }} as batches
        where
            batches.run_id = runs.run_id
            and batches.rows_updated > 0
    )
order by runs.started_at desc
limit 1;
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}

-- name: {{ statement_name('plan_reverts', entry) }}(run_id, reverts_run_id, values_before,
--     reverts_batch_id, examples, is_kept{{ ', tenants' if entry.tenant }})
-- Which rows can be restored, and which are in conflict? Counts them in one pass. If is_kept, it
-- stores the reversed mapping and the batches of the rollback, newest first.
with runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

reverted_runs as (
    select
        runs.run_id,
        runs.started_at
    from runs
    where runs.run_id = $2
),

-- the chosen batch and those of other tenants, which may have changed the same rows; or all batches
wanted_batches as (
    select batches.fund_id
    from batches
    where batches.batch_id = cast($4 as bigint)
),

reverted_batches as (
    select
        batches.batch_id,
        batches.fund_id,
        coalesce(batches.batch_id = cast($4 as bigint), true) as is_taken_back
    from batches
    left join wanted_batches on true
    where
        batches.run_id = $2
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
        and (
            cast($4 as bigint) is null
            or batches.batch_id = cast($4 as bigint)
            or batches.fund_id is distinct from wanted_batches.fund_id
        )
),

own_values as (
    select
        value_map.map_id,
        value_map.match_type,
        value_map.value_after as value_before,
        value_map.value_before as value_after
    from value_map
    where
        value_map.run_id = $2
        and value_map.table_name = {{ table_text }}
        and value_map.column_name = {{ column_text }}
        and value_map.map_id is not null
        and (
            cast($3 as text[]) is null
            or value_map.value_before = any(cast($3 as text[]))
        )
),

{{ judged_reverts(entry, '$1', '$7' if entry.tenant else 'null') }},

-- Rows that several batches have changed. Only a run that is cut by tenant has such rows.
shared_rows as (
    select audited.row_key
    from pieces
    cross join unnest(pieces.row_keys) as audited (row_key)
    where
        pieces.is_own
        and exists (
            select 1 as found
            from reverted_batches
            where reverted_batches.fund_id is not null
        )
    group by audited.row_key
    having min(pieces.batch_id) < max(pieces.batch_id)
),

shared_entries as (
    select distinct
        shared_rows.row_key,
        pieces.batch_id
    from pieces
    cross join unnest(pieces.row_keys) as audited (row_key)
    inner join shared_rows
        on audited.row_key = shared_rows.row_key
    where pieces.is_own
),

sharing_batches as (
    select
        shared_entries.batch_id,
        array_agg(distinct other_entries.batch_id) as shared_batch_ids
    from shared_entries
    inner join shared_entries as other_entries
        on shared_entries.row_key = other_entries.row_key
    where shared_entries.batch_id <> other_entries.batch_id
    group by shared_entries.batch_id
),

pairs as (
    select
        judged_rows.value_written as value_before,
        judged_rows.value_before as value_after,
        min(judged_rows.map_id) as first_map_id,
        count(*) filter (where judged_rows.reason is null) as rows_planned
    from judged_rows
    group by
        judged_rows.value_written,
        judged_rows.value_before
),

turned_values as (
    select
        own_values.map_id,
        own_values.value_before,
        own_values.value_after,
        own_values.match_type,
        coalesce(pairs.rows_planned, 0) as rows_planned
    from own_values
    left join pairs
        on
            own_values.value_before = pairs.value_before
            and own_values.value_after = pairs.value_after
),

last_numbers as (
    select max(reverted_values.map_id) as map_id
    from reverted_values
),

-- for rows that the run changed twice: from its last value to the first one
further_values as (
    select
        last_numbers.map_id
        + row_number() over (order by pairs.value_before asc, pairs.value_after asc) as map_id,
        pairs.value_before,
        pairs.value_after,
        own_values.match_type,
        pairs.rows_planned
    from pairs
    inner join own_values
        on pairs.first_map_id = own_values.map_id
    cross join last_numbers
    where
        not exists (
            select 1 as found
            from own_values as turned
            where
                turned.value_before = pairs.value_before
                and turned.value_after = pairs.value_after
        )
),

all_values as (
    select * from turned_values
    union all
    select * from further_values
),

stored_values as (
    insert into {{ ref('migration_value_map') }} (
        run_id, schema_name, table_name, column_name, map_id, value_before, value_after, match_type,
        rows_planned
    )
    select
        cast($1 as uuid) as run_id,
        {{ app_schema() }} as schema_name,
        {{ table_text }} as table_name,
        {{ column_text }} as column_name,
        cast(all_values.map_id as smallint) as map_id,
        all_values.value_before,
        all_values.value_after,
        all_values.match_type,
        all_values.rows_planned
    from all_values
    where cast($6 as boolean)
    returning map_id
),

counted_batches as (
    select
        judged_rows.batch_id,
        count(*) as row_count,
        count(*) filter (where judged_rows.reason is null) as planned_count
    from judged_rows
    group by judged_rows.batch_id
),

stored_batches as (
    insert into {{ ref('stage_migration_batches') }} (
        run_id, schema_name, table_name, column_name, range_no, fund_id, range_start, range_end,
        stripe, stripes, hashed, rows_in_batch, rows_planned, reverts_batch_id, shared_batch_ids
    )
    select
        cast($1 as uuid) as run_id,
        {{ app_schema() }} as schema_name,
        {{ table_text }} as table_name,
        {{ column_text }} as column_name,
        batches.range_no,
        batches.fund_id,
        -- a batch that was started more than once may have been shortened after it had changed rows
        case
            when batches.attempts = 1 and batches.error_message is null then batches.range_start
        end as range_start,
        batches.range_end,
        batches.stripe,
        batches.stripes,
        batches.hashed,
        counted_batches.row_count as rows_in_batch,
        counted_batches.planned_count as rows_planned,
        batches.batch_id as reverts_batch_id,
        sharing_batches.shared_batch_ids
    from counted_batches
    inner join batches
        on counted_batches.batch_id = batches.batch_id
    left join sharing_batches
        on counted_batches.batch_id = sharing_batches.batch_id
    where cast($6 as boolean)
    order by batches.batch_id desc
    returning batch_id
),

restored_values as (
    select
        pairs.value_before as value_now,
        pairs.value_after as value_restored,
        pairs.rows_planned as row_count
    from pairs
    where pairs.rows_planned > 0
),

conflicts as (
    select
        judged_rows.row_key,
        judged_rows.tenant,
        judged_rows.value_before,
        judged_rows.value_written,
        judged_rows.value_now,
        judged_rows.reason,
        row_number() over (
            partition by judged_rows.reason
            order by {{ key_from_text(entry.key, 'judged_rows.row_key') }}
        ) as place
    from judged_rows
    where judged_rows.reason is not null
),

{{ rollback_answer(entry, '$5') }};

-- name: {{ statement_name('revert_baselines', entry) }}(run_id, tenants, range_end)
-- Counts before the rollback, by tenant, up to its last key: rows, NULLs, blanks.
{{ stored_baselines(entry, '$3') }};

-- name: {{ statement_name('reopen_reverts', entry) }}(run_id, tenants, lease_token)
-- Reopens batches with a row that can still be restored: it was locked during its batch, or got
-- back the value that the run wrote. Quarantined rows are left out.
with runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

quarantine as (
    select * from {{ ref('migration_quarantine') }}
),

{{ of_rollback(entry, '$1') }},

{{ judged_reverts(entry, '$1', '$2') }},

open_batches as (
    select distinct judged_rows.batch_id
    from judged_rows
    where
        judged_rows.reason is null
        and not exists (
            select 1 as found
            from quarantine
            where
                quarantine.run_id = $1
                and quarantine.table_name = {{ table_text }}
                and quarantine.column_name = {{ column_text }}
                and quarantine.row_key = judged_rows.row_key
        )
)

{{ reopened_batches('$3') }};

-- name: {{ statement_name('unrestored_rows', entry) }}(run_id, tenants)
-- At the very end: rows that could have been restored but were not, by their present value.
with runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

{{ of_rollback(entry, '$1') }},

{{ judged_reverts(entry, '$1', '$2') }}

select
    judged_rows.value_written as value_before,
    count(*) as row_count,
    count(*) as never_changed,
    min(judged_rows.row_key) as example
from judged_rows
where judged_rows.reason is null
group by judged_rows.value_written
order by
    row_count desc,
    value_before asc;

-- name: {{ statement_name('store_conflicts', entry) }}(run_id, tenants)
-- At the end: the rows that were left alone because other users or later runs changed them. Stored
-- once per row, even if the run ends several times.
with runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

known_conflicts as (
    select * from {{ ref('migration_conflicts') }}
),

{{ of_rollback(entry, '$1') }},

{{ judged_reverts(entry, '$1', '$2') }}

insert into {{ ref('migration_conflicts') }} (
    run_id, batch_id, schema_name, table_name, column_name, row_key, tenant, value_before,
    value_written, value_now, reason
)
select
    cast($1 as uuid) as run_id,
    batches.batch_id,
    {{ app_schema() }} as schema_name,
    {{ table_text }} as table_name,
    {{ column_text }} as column_name,
    judged_rows.row_key,
    judged_rows.tenant,
    judged_rows.value_before,
    judged_rows.value_written,
    judged_rows.value_now,
    judged_rows.reason
from judged_rows
inner join batches
    on judged_rows.batch_id = batches.reverts_batch_id
where
    batches.run_id = $1
    and judged_rows.reason is not null
    and not judged_rows.is_restored
    and not exists (
        select 1 as found
        from known_conflicts
        where
            known_conflicts.run_id = $1
            and known_conflicts.table_name = {{ table_text }}
            and known_conflicts.column_name = {{ column_text }}
            and known_conflicts.row_key = judged_rows.row_key
    )
returning row_key;
{%- endfor %}
