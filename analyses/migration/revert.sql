-- Named statements of a rollback's batches: one set per managed column. keys_to_revert lists the
-- rows of a range, revert_batch is the only statement of a rollback that changes rows of the
-- application. They are stored with the rollback and run without any change.
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}
{%- set key = numbered_key(entry.key) %}
{%- set numbers = parameter_numbers(
    ['batch_id', 'lease_token', 'first_place', 'last_place', 'values_before', 'values_after',
    'map_ids', 'is_partitioned', 'range_start', 'range_end', 'key_map_ids'] + key.keys() | list
) %}

-- name: {{ statement_name('keys_to_revert', entry) }}(batch_ids, tenants, values_before,
--     values_after, map_ids)
-- The keys of the rows that batches of a rollback restore, each with the number of its mapping in
-- the rollback's own map: from the value that the run wrote last to the one that the row had
-- before it. Normally these are the keys of the original batch's audit, as they are. They are
-- looked at row by row only if a row may have been changed otherwise: by a later run, an earlier
-- attempt at this batch, twice by the original batch, or by several batches; or if only some
-- tenants or some values are wanted.
with changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

own_batches as {{ computed_once() }} (
    select batches.*
    from {{ ref('stage_migration_batches') }} as batches
    where batches.batch_id = any(cast($1 as bigint[]))
),

reverted_runs as {{ computed_once() }} (
    select
        reverting.run_id as reverting_id,
        reverted.run_id,
        reverted.started_at
    from {{ ref('migration_runs') }} as reverting
    inner join {{ ref('migration_runs') }} as reverted
        on reverting.reverts_run_id = reverted.run_id
    where
        exists (
            select 1 as found
            from own_batches
            where own_batches.run_id = reverting.run_id
        )
),

-- batches of later runs of the column that may have changed the same rows
later_batches as {{ computed_once() }} (
    select batches.*
    from {{ ref('stage_migration_batches') }} as batches
    where
        -- as an array, so that the index is used, however many batches the ledger has
        batches.run_id = any(
            array(
                select runs.run_id
                from {{ ref('migration_runs') }} as runs
                cross join reverted_runs
                where
                    runs.run_id not in (reverted_runs.run_id, reverted_runs.reverting_id)
                    and {{ is_later_run('runs', 'reverted_runs.run_id') | indent(20) }}
            )
        )
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
        and (batches.rows_updated > 0 or batches.status = 'running')
),

entry_counts as (
    select
        own_batches.batch_id,
        count(entries.batch_id) as entry_count
    from own_batches
    left join {{ ref('stage_normalization_changes') }} as entries
        on own_batches.reverts_batch_id = entries.batch_id
    group by own_batches.batch_id
),

-- values that are not restored
unwanted_values as (
    select mappings.map_id
    from {{ ref('migration_value_map') }} as mappings
    where
        mappings.run_id = (select reverted_runs.run_id from reverted_runs)
        and mappings.table_name = {{ table_text }}
        and mappings.column_name = {{ column_text }}
        and mappings.map_id <> all(cast($5 as smallint[]))
),

-- batches whose rows have to be looked at one by one
judged_batches as {{ computed_once() }} (
    select own_batches.*
    from own_batches
    inner join entry_counts
        on own_batches.batch_id = entry_counts.batch_id
    where
        entry_counts.entry_count > 1
        or own_batches.attempts > 1
        or own_batches.shared_batch_ids is not null
        or cast($2 as text[]) is not null
        or exists (
            select 1 as found
            from unwanted_values
        )
        or exists (
            select 1 as found
            from later_batches
        )
),

-- The ends of the batches as the table's own keys: the order is that of its collation.
range_starts as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        cast(null as bigint) as batch_id
    from {{ application_table(entry) }} as application
    where false
    union all
    select
        {{ key_values(entry.key, 'judged_batches.range_start', numbered=true) }},
        judged_batches.batch_id
    from judged_batches
),

range_ends as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        cast(null as bigint) as batch_id
    from {{ application_table(entry) }} as application
    where false
    union all
    select
        {{ key_values(entry.key, 'judged_batches.range_end', numbered=true) }},
        judged_batches.batch_id
    from judged_batches
),

audited_batches as (
    select
        judged_batches.reverts_batch_id as batch_id,
        true as is_own,
        true as is_taken_back,
        false as is_ours
    from judged_batches
    union
    -- Other batches of that run that changed some of the same rows: the first and the last value of
    -- a row may be in different batches.
    select
        shared.batch_id,
        true as is_own,
        taken_back.batch_id is not null as is_taken_back,
        false as is_ours
    from judged_batches
    cross join unnest(judged_batches.shared_batch_ids) as shared (batch_id)
    left join {{ ref('stage_migration_batches') }} as taken_back
        on
            taken_back.run_id = (select reverted_runs.reverting_id from reverted_runs)
            and shared.batch_id = taken_back.reverts_batch_id
    union
    -- rows that an earlier attempt at these batches has restored
    select
        judged_batches.batch_id,
        false as is_own,
        false as is_taken_back,
        true as is_ours
    from judged_batches
    union
    -- Batches of later runs that may have the same rows. A batch that was started more than once
    -- may have been shortened by --resume-from after it had changed rows.
    select
        later_batches.batch_id,
        false as is_own,
        false as is_taken_back,
        false as is_ours
    from judged_batches
    inner join range_starts
        on judged_batches.batch_id = range_starts.batch_id
    inner join range_ends
        on judged_batches.batch_id = range_ends.batch_id
    cross join later_batches
    where
        (
            judged_batches.range_start is null
            or ({{ key_values(entry.key, 'later_batches.range_end') }})
            > ({{ key_columns(key, 'range_starts') }})
        )
        and (
            later_batches.range_start is null
            or later_batches.attempts > 1
            or later_batches.error_message is not null
            or ({{ key_values(entry.key, 'later_batches.range_start') }})
            < ({{ key_columns(key, 'range_ends') }})
        )
),

{{ audited_rows('$2') }},

{{ value_map({'value_before': '$3', 'value_after': '$4', 'map_id': '$5'}) }},

-- A row that the run changed twice goes from its last value back to its first one.
mapped_rows as (
    select
        judged_batches.batch_id,
        audited_rows.row_key,
        value_map.map_id,
        value_map.value_after as value_restored,
        last_values.value_after as value_written,
        audited_rows.first_map_id = audited_rows.last_map_id as is_simple
    from audited_rows
    inner join judged_batches
        on audited_rows.batch_id = judged_batches.reverts_batch_id
    inner join value_map
        on audited_rows.first_map_id = value_map.map_id
    left join {{ ref('migration_value_map') }} as last_values
        on
            last_values.run_id = (select reverted_runs.run_id from reverted_runs)
            and last_values.table_name = {{ table_text }}
            and last_values.column_name = {{ column_text }}
            and audited_rows.last_map_id = last_values.map_id
            and audited_rows.first_map_id <> audited_rows.last_map_id
    where
        audited_rows.is_in_scope
        and not audited_rows.is_changed_later
),

restored_rows as (
    select
        mapped_rows.batch_id,
        {{ key_from_text(entry.key, 'mapped_rows.row_key', numbered=true) }},
        case
            when mapped_rows.is_simple then mapped_rows.map_id
            else value_map.map_id
        end as map_id
    from mapped_rows
    left join value_map
        on
            not mapped_rows.is_simple
            and mapped_rows.value_written = value_map.value_before
            and mapped_rows.value_restored = value_map.value_after
)

select
    own_batches.batch_id,
    cardinality(original.row_keys) as key_total,
    {{ keys_from_texts(entry.key, 'original.row_keys') | indent(4) }},
    original.map_ids as key_map_ids
from own_batches
inner join {{ ref('stage_normalization_changes') }} as original
    on own_batches.reverts_batch_id = original.batch_id
where
    not exists (
        select 1 as found
        from judged_batches
        where judged_batches.batch_id = own_batches.batch_id
    )
union all
select
    restored_rows.batch_id,
    {{ key_lists(key, 'restored_rows') | indent(4) }},
    array_agg(restored_rows.map_id) as key_map_ids
from restored_rows
where restored_rows.map_id is not null
group by restored_rows.batch_id;

-- name: {{ statement_name('revert_batch', entry) }}(batch_id, lease_token,
--     first_place, last_place, values_before, values_after, map_ids, is_partitioned,
--     range_start, range_end, key_map_ids, {{ key.keys() | join(', ') }})
-- One batch of a rollback, or a piece of one: rows of the list of keys, from one place to another,
-- that still have the value that the run wrote, get the one they had before it. Rows and audit
-- entry are one statement: both are written, or neither.
with {{ held_batch('$1', '$2') }},

{{ value_map({'value_before': '$5', 'value_after': '$6', 'map_id': '$7'}) }},

changed as (
    -- Compare and swap: a row that does not have the value that the run wrote is left alone.
    update {{ application_table(entry) }} as application
    set {{ quoted(entry.column) }} = value_map.value_after
    from
        {{ listed_keys(entry.key, numbers, with_maps=true) | indent(8) }}
    inner join value_map
        on listed.map_id = value_map.map_id
    where
        exists (
            select 1 as found
            from fence
        )
        and ({{ key_columns(entry.key, 'application') }}) = ({{ key_columns(key, 'listed') }})
        and {{ partition_range(entry.key, numbers) | indent(8) }}
        and {{ binary_text('application.' ~ quoted(entry.column)) }} = value_map.value_before
    returning
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ tenant_text('application', entry.tenant) }} as tenant,
        {{ binary_text('application.' ~ quoted(entry.column)) }} as value_now,
        value_map.value_after,
        value_map.map_id
),

{{ recorded_changes('revert', ref('stage_normalization_changes')) }};
{%- endfor %}
