-- Named statements of a rollback's batches: one set per managed column. revert_batch is the only
-- statement of a rollback that changes rows of the application. They are stored with the rollback
-- and run without any change.
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}
{%- set key = numbered_key(entry.key) %}
{%- set whole = is_integer_key(entry.key) %}

{%- for purpose in ['revert_batch', 'keys_to_revert'] %}
{%- set reverts = purpose == 'revert_batch' %}

-- name: {{ statement_name(purpose, entry) }}(batch_id, range_start,
--     range_end, stripe, stripes, tenants,
--     values_before, values_after, map_ids
{{- ', hashed' if whole }}{{ ', lease_token' if reverts }})
{%- if reverts %}
-- One batch of a rollback, or a piece of one: rows that the original batch has changed, that still
-- have the value its run wrote last, and that no other run has changed since, get the value they
-- had before that run. Rows, audit entry and progress are one statement: all of them are written,
-- or none. The mapping is the rollback's own: from the value that the run wrote to the restored
-- one.
{%- else %}
-- The keys of the rows that a batch of a rollback, or a piece of one, would change, in order: where
-- to cut it.
{%- endif %}
{%- set columns = [
    'batches.reverts_batch_id',
    'batches.shared_batch_ids',
    'batches.range_start',
    'batches.range_end',
    'batches.stripe',
    'batches.stripes',
    'batches.hashed',
] %}
{%- if reverts %}
with {{ held_batch('$1', '$11' if whole else '$10', columns) }},
{%- else %}
with fence as (
    select
        batches.batch_id,
        batches.run_id,
        {{ columns | join(',\n        ') }}
    from {{ ref('stage_migration_batches') }} as batches
    where batches.batch_id = $1
),
{%- endif %}

reverted_runs as (
    select
        reverted.run_id,
        reverted.started_at
    from fence
    inner join {{ ref('migration_runs') }} as reverting
        on fence.run_id = reverting.run_id
    inner join {{ ref('migration_runs') }} as reverted
        on reverting.reverts_run_id = reverted.run_id
),

later_runs as (
    select runs.run_id
    from reverted_runs
    cross join fence
    cross join {{ ref('migration_runs') }} as runs
    where
        runs.run_id <> reverted_runs.run_id
        and runs.run_id <> fence.run_id
        and coalesce(runs.finished_at >= reverted_runs.started_at, true)
),

-- The ends of the batch as the table's own keys: the order is that of its collation.
range_starts as (
    select {{ numbered_columns(entry.key, 'application') }}
    from {{ application_table(entry) }} as application
    where false
    union all
    select {{ key_values(entry.key, 'fence.range_start') }}
    from fence
),

range_ends as (
    select {{ numbered_columns(entry.key, 'application') }}
    from {{ application_table(entry) }} as application
    where false
    union all
    select {{ key_values(entry.key, 'fence.range_end') }}
    from fence
),

audited_batches as (
    select
        fence.reverts_batch_id as batch_id,
        true as is_own,
        true as is_taken_back,
        false as is_ours
    from fence
    union all
    -- Other batches of that run that changed some of the same rows: the first and the last value of
    -- a row may be in different batches.
    select
        shared.batch_id,
        true as is_own,
        batches.batch_id is not null as is_taken_back,
        false as is_ours
    from fence
    cross join unnest(fence.shared_batch_ids) as shared (batch_id)
    left join {{ ref('stage_migration_batches') }} as batches
        on
            batches.run_id = (select held.run_id from fence as held)
            and shared.batch_id = batches.reverts_batch_id
    union all
    -- rows that an earlier attempt at this batch has restored
    select
        fence.batch_id,
        false as is_own,
        false as is_taken_back,
        true as is_ours
    from fence
    union all
    -- Batches of later runs that may have the same rows. A batch that was started more than once
    -- may have been shortened by --resume-from after it had changed rows.
    select
        batches.batch_id,
        false as is_own,
        false as is_taken_back,
        false as is_ours
    from fence
    cross join range_starts
    cross join range_ends
    cross join {{ ref('stage_migration_batches') }} as batches
    where
        -- as an array, so that the index is used, however many batches the ledger has
        batches.run_id = any(array(select later_runs.run_id from later_runs))
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
        and (
            batches.hashed <> fence.hashed
            or (batches.stripe & (least(batches.stripes, fence.stripes) - 1))
            = (fence.stripe & (least(batches.stripes, fence.stripes) - 1))
        )
        and (
            fence.range_start is null
            or ({{ key_values(entry.key, 'batches.range_end') }})
            > ({{ key_columns(key, 'range_starts') }})
        )
        and (
            batches.range_start is null
            or batches.attempts > 1
            or batches.error_message is not null
            or ({{ key_values(entry.key, 'batches.range_start') }})
            < ({{ key_columns(key, 'range_ends') }})
        )
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

{{ audited_rows('$6') }},

keyed_rows as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        cast(null as bigint) as first_map_id,
        cast(null as bigint) as last_map_id
    from {{ application_table(entry) }} as application
    where false
    union all
    select
        {{ key_from_text(entry.key, 'audited_rows.row_key', numbered=true) }},
        audited_rows.first_map_id,
        audited_rows.last_map_id
    from audited_rows
    inner join fence
        on audited_rows.batch_id = fence.reverts_batch_id
    where
        audited_rows.is_in_scope
        and not audited_rows.is_changed_later
),

value_pairs as (
    select
        pairs.value_before,
        pairs.value_after,
        pairs.map_id
    from
        unnest(cast($7 as text[]), cast($8 as text[]), cast($9 as smallint[]))
            as pairs (value_before, value_after, map_id)
),

-- A row that the run changed twice goes from its last value back to its first one.
mapped_rows as (
    select
        keyed_rows.*,
        value_map.map_id,
        value_map.value_after as value_restored,
        case
            when keyed_rows.first_map_id = keyed_rows.last_map_id then value_map.value_before
            else (
                select reverted_values.value_after
                from {{ ref('migration_value_map') }} as reverted_values
                inner join reverted_runs
                    on reverted_values.run_id = reverted_runs.run_id
                where
                    reverted_values.table_name = {{ table_text }}
                    and reverted_values.column_name = {{ column_text }}
                    and reverted_values.map_id = keyed_rows.last_map_id
            )
        end as value_written
    from keyed_rows
    inner join
        unnest(cast($7 as text[]), cast($8 as text[]), cast($9 as smallint[]))
            as value_map (value_before, value_after, map_id)
        on keyed_rows.first_map_id = value_map.map_id
    where
        {{ key_in_range(key, 'keyed_rows', '$2', '$3') | indent(8) }}
        and {{ stripe_of(key, 'keyed_rows', '$5', '$10') | indent(8) }} = cast($4 as bigint)
),

restored_rows as (
    select
        {{ numbered_columns(key, 'mapped_rows') }},
        mapped_rows.value_written,
        mapped_rows.value_restored,
        case
            when mapped_rows.first_map_id = mapped_rows.last_map_id then mapped_rows.map_id
            else (
                select value_pairs.map_id
                from value_pairs
                where
                    value_pairs.value_before = mapped_rows.value_written
                    and value_pairs.value_after = mapped_rows.value_restored
            )
        end as map_id
    from mapped_rows
)
{%- if reverts %},

changed as (
    -- Compare and swap: a row that does not have the value that the run wrote is left alone.
    update {{ application_table(entry) }} as application
    set {{ quoted(entry.column) }} = restored_rows.value_restored
    from restored_rows
    where
        ({{ key_columns(entry.key, 'application') }})
        = ({{ key_columns(key, 'restored_rows') }})
        and {{ binary_text('application.' ~ quoted(entry.column)) }} = restored_rows.value_written
    returning
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ tenant_text('application', entry.tenant) }} as tenant,
        {{ binary_text('application.' ~ quoted(entry.column)) }} as value_now,
        restored_rows.value_restored as value_after,
        restored_rows.map_id
),

{{ recorded_changes(
    'revert', ref('stage_normalization_changes'), ref('stage_migration_batches')
) }};
{%- else %}

select {{ key_texts(key, 'restored_rows') }} as key_texts
from restored_rows
inner join {{ application_table(entry) }} as application
    on
        ({{ key_columns(entry.key, 'application') }})
        = ({{ key_columns(key, 'restored_rows') }})
        and {{ binary_text('application.' ~ quoted(entry.column)) }} = restored_rows.value_written
order by {{ key_columns(key, 'restored_rows') }};
{%- endif %}
{%- endfor %}
{%- endfor %}
