-- Named statements of `trueup apply`: one set per managed column. keys_to_change lists the rows of
-- a range, apply_batch is the only statement that changes rows of the application. They are stored
-- in the plan and run without any change.
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}
{%- set key = numbered_key(entry.key) %}
{%- set key_names = key.keys() | join(', ') %}
{%- set resume_from = key_columns(key, 'resume_key') %}
{%- set raw_value = binary_text('application.' ~ quoted(entry.column)) %}
{%- set of_tenants = ['tenants', 'by_tenant', 'fund_id'] if entry.tenant else [] %}

{%- set parameters = ['stripe_batches', 'range_start', 'range_end', 'stripes', 'values_before',
    'map_ids', 'canonical_values']
    + (['hashed'] if is_integer_key(entry.key) else [])
    + (['tenants'] if entry.tenant else []) %}
{%- set numbers = parameter_numbers(parameters) %}

-- name: {{ statement_name('keys_to_change', entry) }}(stripe_batches, range_start, range_end,
--     stripes, values_before, map_ids, canonical_values
{{- ', hashed' if is_integer_key(entry.key) }}{{ ', tenants' if entry.tenant }})
-- The keys of the rows of a range that have a planned value, for each of its open batches, with
-- the numbers of their mappings. Read once, without a lock; rows that get such a value later are
-- left to the next pass. stripe_batches: the batches by stripe, NULL if one is not open.
with {{ value_map({'value_before': '$5', 'map_id': '$6'}) }},

dirty_rows as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        value_map.map_id,
        (cast($1 as bigint[]))[
            cast(
                {{ stripe_of(entry.key, 'application', '$4', numbers.get('hashed'))
                    | indent(16) }} as integer
            ) + 1
        ] as batch_id
    from {{ application_table(entry) }} as application
    inner join value_map
        on {{ raw_value }} = value_map.value_before
    where
        {{ key_in_range(entry.key, 'application', '$2', '$3') | indent(8) }}
        -- with these values the planner can use an index of what is not canonical
        and (
            cast($7 as text[]) is null
            or {{ raw_value }} <> all(cast($7 as text[]))
        )
        {%- if entry.tenant %}
        and {{ in_scope(entry.tenant, 'application', numbers.tenants) | indent(8) }}
        {%- endif %}
)

select
    dirty_rows.batch_id,
    {{ key_lists(key, 'dirty_rows') | indent(4) }},
    array_agg(dirty_rows.map_id) as key_map_ids
from dirty_rows
where dirty_rows.batch_id is not null
group by dirty_rows.batch_id;
{%- set last_key = key_values(entry.key, 'chosen_batches.range_end') %}
{%- set own_key = key_columns(entry.key, 'application') %}
{%- if entry.key | length > 1 %}
    {%- set last_key = 'row(' ~ last_key ~ ')' %}
    {%- set own_key = 'row(' ~ own_key ~ ')' %}
{%- endif %}

-- name: {{ statement_name('keys_by_tenant', entry) }}(run_id, first_batch_id, most_rows,
--     values_before, map_ids)
-- The same for batches that are cut by tenant: one pass over the table lists the rows of several
-- tenants, beginning with a batch, up to so many planned rows. Batches without rows are listed,
-- too.
with {{ value_map({'value_before': '$4', 'map_id': '$5'}) }},

ordered_batches as (
    select
        batches.batch_id,
        batches.fund_id,
        batches.range_start,
        batches.range_end,
        sum(batches.rows_planned) over (order by batches.batch_id)
        - batches.rows_planned as rows_before
    from {{ ref('stage_migration_batches') }} as batches
    where
        batches.run_id = $1
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
        and batches.batch_id >= cast($2 as bigint)
),

chosen_batches as {{ computed_once() }} (
    select ordered_batches.*
    from ordered_batches
    where ordered_batches.rows_before < cast($3 as bigint)
),

tenants as {{ computed_once() }} (
    select
        chosen_batches.fund_id,
        min(chosen_batches.batch_id) as first_batch_id,
        array_agg(
            {{ last_key }}
            order by chosen_batches.batch_id
        ) as range_ends,
        array_agg(chosen_batches.batch_id order by chosen_batches.batch_id) as batch_ids
    from chosen_batches
    group by chosen_batches.fund_id
),

-- place: how many batches of the tenant end at or before the key
placed_rows as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        {{ own_key }} as own_key,
        value_map.map_id,
        tenants.batch_ids,
        tenants.range_ends,
        width_bucket({{ own_key }}, tenants.range_ends) as place
    from {{ application_table(entry) }} as application
    inner join value_map
        on {{ raw_value }} = value_map.value_before
    inner join tenants
        on
            coalesce({{ tenant_text('application', entry.tenant) }}, '')
            = coalesce(tenants.fund_id, '')
    inner join chosen_batches
        on tenants.first_batch_id = chosen_batches.batch_id
    where
        ({{ tenant_text('application', entry.tenant) }} is null) = (tenants.fund_id is null)
        and (
            chosen_batches.range_start is null
            or ({{ key_columns(entry.key, 'application') }})
            > ({{ key_values(entry.key, 'chosen_batches.range_start') }})
        )
),

dirty_rows as (
    select
        placed_rows.*,
        case
            when placed_rows.range_ends[placed_rows.place] = placed_rows.own_key
                then placed_rows.batch_ids[placed_rows.place]
            else placed_rows.batch_ids[placed_rows.place + 1]
        end as batch_id
    from placed_rows
),

listed_rows as (
    select
        dirty_rows.batch_id,
        {{ key_lists(key, 'dirty_rows') | indent(8) }},
        array_agg(dirty_rows.map_id) as key_map_ids
    from dirty_rows
    group by dirty_rows.batch_id
)

select
    chosen_batches.batch_id,
    coalesce(listed_rows.key_total, 0) as key_total,
    {%- for name in key %}
    listed_rows.{{ name }},
    {%- endfor %}
    listed_rows.key_map_ids
from chosen_batches
left join listed_rows
    on chosen_batches.batch_id = listed_rows.batch_id;

{%- for purpose in ['apply_batch', 'apply_batch_comparing'] %}
{%- set compares = purpose == 'apply_batch_comparing' %}
{%- set planned = 'older_rows' if compares else 'value_map' %}
{%- set numbers = parameter_numbers(
    ['batch_id', 'lease_token', 'first_place', 'last_place', 'values_before', 'values_after',
    'map_ids', 'is_partitioned', 'range_start', 'range_end'] + key.keys() | list + of_tenants
) %}

-- name: {{ statement_name(purpose, entry) }}(batch_id, lease_token,
--     first_place, last_place, values_before, values_after, map_ids, is_partitioned,
--     range_start, range_end, {{ (key.keys() | list + of_tenants) | join(', ') }})
-- One batch, or a piece of one: rows of the list of keys, from one place to another, whose value is
-- still in the plan. Rows and audit entry are one statement: both are written, or neither.
{%- if compares %}
-- Each row is joined to its own version from before the update, so that a change of any other
-- column is seen; a row that is edited at the same time is left to the next pass. The plan inserts
-- the names of these columns, from the catalog, at the marked places.
{%- endif %}
with {{ held_batch('$1', '$2') }},

{{ value_map({'value_before': '$5', 'value_after': '$6', 'map_id': '$7'}) }},
{%- if compares %}

older_rows as {{ computed_once() }} (
    select
        {{ numbered_columns(entry.key, 'application') }},
        application.xmin as row_version,
        row(/* every other column of application */) as other_values,
        value_map.value_before,
        value_map.value_after,
        value_map.map_id
    from {{ application_table(entry) }} as application
    cross join value_map
    cross join
        {{ listed_rows(entry, numbers) | indent(8) }}
    where
        {{ planned_row(entry, numbers) | indent(8) }}
),
{%- endif %}

changed as (
    -- Compare and swap: a row whose value is not, or no longer, the planned one is left alone.
    update {{ application_table(entry) }} as application
    set {{ quoted(entry.column) }} = {{ planned }}.value_after
    from
        {{ '' if compares else (listed_rows(entry, numbers) | indent(8)) ~ ',\n        ' -}}
        {{ planned }}
    where
        exists (
            select 1 as found
            from fence
        )
        and {{ (same_version(entry) if compares else planned_row(entry, numbers)) | indent(8) }}
    returning
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ tenant_text('application', entry.tenant) }} as tenant,
        {{ raw_value }} as value_now,
        {%- if compares %}
        record_image_eq(
            row(/* every other column of application */), older_rows.other_values
        ) as is_alike,
        {%- endif %}
        {{ planned }}.value_after,
        {{ planned }}.map_id
),

{{ recorded_changes('update', ref('stage_normalization_changes'), compares) }};
{%- endfor %}

-- name: {{ statement_name('table_now', entry) }}()
-- has_later_triggers: triggers of the application run after an update, and may write again what a
-- batch has written.
with tables as (
    select cast({{ literal(application_table(entry)) }} as regclass) as relid
    union
    select tree.relid
    from pg_partition_tree({{ literal(application_table(entry)) }}) as tree
)

select
    count(pg_trigger.oid) > 0 as has_later_triggers,
    count(distinct tables.relid) > 1 as is_partitioned
from tables
left join pg_catalog.pg_trigger
    on
        tables.relid = pg_trigger.tgrelid
        and not pg_trigger.tgisinternal
        and pg_trigger.tgenabled <> 'D'
        and pg_trigger.tgtype & 18 = 16
        and not {{ is_guard_trigger() | indent(8) }};

-- name: {{ statement_name('confirm_piece', entry) }}(batch_id, values_after, map_ids)
-- If the table has such triggers, after apply_batch or revert_batch in the same transaction: reads
-- the changed rows again. A row that holds another value is an error, which undoes the change. If
-- other columns are compared, a row that was written again counts as changed in other columns.
with own_entries as {{ computed_once() }} (
    select
        changes.run_id,
        changes.batch_id,
        changes.row_keys,
        changes.map_ids,
        changes.xmin as written_by,
        changes.cmin as written_at,
        changes.others_changed is not null as compares
    from {{ ref('stage_normalization_changes') }} as changes
    where
        changes.batch_id = $1
        and changes.xmin = cast(pg_current_xact_id_if_assigned() as xid)
),

changed_rows as (
    select
        audited.row_key,
        audited.map_id,
        own_entries.run_id,
        own_entries.batch_id,
        own_entries.compares,
        own_entries.written_by,
        own_entries.written_at,
        {{ key_from_text(entry.key, 'audited.row_key', numbered=true) }}
    from own_entries
    cross join unnest(own_entries.row_keys, own_entries.map_ids) as audited (row_key, map_id)
),

{{ value_map({'value_after': '$2', 'map_id': '$3'}) }},

written_again as (
    -- The same command writes rows and audit: a row of another command was written again.
    insert into {{ ref('stage_normalization_changes') }} (
        run_id, batch_id, row_keys, tenants, map_ids, others_changed
    )
    select
        changed_rows.run_id,
        changed_rows.batch_id,
        cast('{}' as text[]) as row_keys,
        cast('{}' as text[]) as tenants,
        cast('{}' as smallint[]) as map_ids,
        array_agg(changed_rows.row_key) as others_changed
    from changed_rows
    inner join {{ application_table(entry) }} as application
        on
            ({{ key_columns(entry.key, 'application') }})
            = ({{ key_columns(key, 'changed_rows') }})
    where
        changed_rows.compares
        and not (
            application.xmin = changed_rows.written_by
            and application.cmin = changed_rows.written_at
        )
    group by
        changed_rows.run_id,
        changed_rows.batch_id
),

overwritten_rows as (
    select
        cast(
            'a trigger wrote '
            || coalesce({{ raw_value }}, 'NULL') as smallint
        ) as refusal
    from changed_rows
    inner join value_map
        on changed_rows.map_id = value_map.map_id
    left join {{ application_table(entry) }} as application
        on
            ({{ key_columns(entry.key, 'application') }})
            = ({{ key_columns(key, 'changed_rows') }})
    where {{ raw_value }} is distinct from value_map.value_after
)

select count(overwritten_rows.refusal) as row_total
from overwritten_rows;

-- name: {{ statement_name('quarantine', entry) }}(batch_id, lease_token, first_place, sqlstate,
--     error_message, {{ key_names }})
-- Records the one row that the database refuses to change, with its value and the error.
with refused as (
    select
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ raw_value }} as value_before
    from {{ application_table(entry) }} as application
    where
        ({{ key_columns(entry.key, 'application') }})
        = (
            {%- for type in entry.key.values() %}
            (cast(${{ loop.index + 5 }} as {{ type }}[]))[cast($3 as integer)]
            {{- ',' if not loop.last }}
            {%- endfor %}
        )
),

{{ recorded_refusal('$4', '$5') }};

{%- set numbers = parameter_numbers(
    ['batch_id', 'lease_token', 'first_place', 'last_place', 'values_before', 'snapshot']
    + key.keys() | list
) %}

-- name: {{ statement_name('unchanged_rows', entry) }}(batch_id, lease_token, first_place,
--     last_place, values_before, snapshot, {{ key_names }})
-- After a piece that changed fewer rows than it lists: rows that the database left as they were
-- without an error go into the quarantine. Rows that another user has written since the plan do
-- not: that is why they were left. snapshot: the one that apply_batch saw. If the runner dies
-- before this, the second look of the next one tries the rows again.
with own_batches as {{ computed_once() }} (
    select batches.run_id
    from {{ ref('stage_migration_batches') }} as batches
    where batches.batch_id = $1
),

{{ planned_runs('(select own_batches.run_id from own_batches)') }},

begun as (
    select
        cast($6 as pg_snapshot) as seen_snapshot,
        planned_runs.next_xid
    from planned_runs
),

-- of other columns; not those that another worker has written at the same time
older_entries as {{ computed_once() }} (
    select changes.xmin as written_by
    from {{ ref('stage_normalization_changes') }} as changes
    where
        changes.run_id = (select own_batches.run_id from own_batches)
        and not {{ is_younger('changes', 'begun') | indent(8) }}
),

refused as (
    select
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ raw_value }} as value_before
    from
        {{ listed_keys(entry.key, numbers) | indent(8) }}
    inner join {{ application_table(entry) }} as application
        on ({{ key_columns(entry.key, 'application') }}) = ({{ key_columns(key, 'listed') }})
    where
        {{ raw_value }} = any(cast($5 as text[]))
        and (
            not {{ is_younger('application') | indent(12) }}
            or application.xmin in (
                select older_entries.written_by
                from older_entries
            )
        )
),

{{ recorded_refusal(
    'null',
    literal('it was left as it is, without an error: by a trigger, or by a policy of row security')
) }};

-- name: {{ statement_name('remaining_values', entry) }}(run_id, tenants, range_end)
-- After the last batch: which values at or below the frozen bound are not canonical and were not
-- listed in the plan as left alone? One pass over the table; no row if all is done.
with planned_values as (
    select * from {{ ref('migration_value_map') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

counted_values as (
    select
        {{ raw_value }} as raw_value,
        count(*) as row_count
    from {{ application_table(entry) }} as application
    where
        {{ key_in_range(entry.key, 'application', 'null', '$3') | indent(8) }}
        and {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }}
    group by {{ raw_value }}
)

select
    counted_values.raw_value,
    counted_values.row_count,
    planned_values.map_id is not null as is_planned
from counted_values
left join planned_values
    on
        counted_values.raw_value = planned_values.value_before
        and planned_values.run_id = $1
        and planned_values.table_name = {{ table_text }}
        and planned_values.column_name = {{ column_text }}
where
    counted_values.raw_value is not null
    and (planned_values.run_id is null or planned_values.map_id is not null)
    and not exists (
        select 1 as found
        from vocabulary_keys
        where
            vocabulary_keys.vocabulary = '{{ entry.vocabulary }}'
            and vocabulary_keys.canonical_value = counted_values.raw_value
    )
order by
    counted_values.row_count desc,
    counted_values.raw_value asc;

-- name: {{ statement_name('reopen_batches', entry) }}(run_id, tenants, range_end,
--     values_before, lease_token{{ ', by_tenant' if entry.tenant }})
-- Reopens batches that still have a planned value: rows that were locked or edited during their
-- batch, or written after it. Quarantined rows are left out. It reads range by range with the index
-- of the key, however many rows there are.
with {{ quarantined(entry) }},

first_rows as (
    select {{ key_texts(entry.key, 'application') }} as first_key
    from {{ application_table(entry) }} as application
    order by {{ key_columns(entry.key, 'application') }}
    limit 1
),

ranges as {{ computed_once() }} (
    select
        batches.range_start,
        batches.range_end,
        batches.stripes,
        batches.hashed,
        batches.fund_id,
        -- also for the first range: an index cannot use a bound that may be missing
        coalesce(batches.range_start, first_rows.first_key) as first_key
    from {{ ref('stage_migration_batches') }} as batches
    cross join first_rows
    where
        batches.run_id = $1
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
        and batches.status in ('completed', 'failed')
    group by
        batches.range_start,
        batches.range_end,
        batches.stripes,
        batches.hashed,
        batches.fund_id,
        first_rows.first_key
),

open_stripes as (
    select
        ranges.range_start,
        ranges.range_end,
        ranges.stripes,
        ranges.hashed,
        ranges.fund_id,
        dirty_rows.stripe
    from ranges
    cross join
        lateral (
            select distinct
                {{ stripe_of(
                    entry.key, 'application', 'ranges.stripes', 'ranges.hashed'
                ) | indent(16) }} as stripe
            from {{ application_table(entry) }} as application
            where
                ({{ key_columns(entry.key, 'application') }})
                >= ({{ key_values(entry.key, 'ranges.first_key') }})
                and {{ key_in_range(
                    entry.key, 'application', 'ranges.range_start', 'ranges.range_end'
                ) | indent(16) }}
                and ({{ key_columns(entry.key, 'application') }})
                <= ({{ key_values(entry.key, '$3') }})
                and {{ in_scope(entry.tenant, 'application', '$2') | indent(16) }}
                {%- if entry.tenant %}
                and (
                    not cast($6 as boolean)
                    or {{ tenant_text('application', entry.tenant) }}
                    is not distinct from ranges.fund_id
                )
                {%- endif %}
                and {{ raw_value }}
                = any(cast($4 as text[]))
                and not exists (
                    select 1 as found
                    from quarantined
                    where quarantined.row_key = {{ key_text(entry.key, 'application') }}
                )
        ) as dirty_rows
)

update {{ ref('stage_migration_batches') }} as batches
set
    status = 'pending',
    lease_token = null,
    lease_until = null,
    completed_at = null,
    error_message = null,
    updated_at = now()
from open_stripes
where
    batches.run_id = $1
    and batches.table_name = {{ table_text }}
    and batches.column_name = {{ column_text }}
    and batches.status in ('completed', 'failed')
    and batches.range_end = open_stripes.range_end
    and batches.range_start is not distinct from open_stripes.range_start
    and batches.stripes = open_stripes.stripes
    and batches.hashed = open_stripes.hashed
    and batches.fund_id is not distinct from open_stripes.fund_id
    and batches.stripe = open_stripes.stripe
    and {{ holds_run(ref('stage_migration_control'), '$1', '$5') | indent(4) }}
returning batches.batch_id;

-- name: {{ statement_name('add_batches', entry) }}(run_id, tenants, range_end, values_before,
--     lease_token, by_tenant)
-- If batches are cut by tenant: rows that have moved since the plan to a tenant without batches get
-- a batch of that tenant.
with {{ quarantined(entry) }},

own_batches as {{ computed_once() }} (
    select
        batches.fund_id,
        batches.range_no
    from {{ ref('stage_migration_batches') }} as batches
    where
        batches.run_id = $1
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

moved_rows as (
    select
        {{ tenant_text('application', entry.tenant) }} as fund_id,
        count(*) as row_count
    from {{ application_table(entry) }} as application
    where
        cast($6 as boolean)
        and {{ key_in_range(entry.key, 'application', 'null', '$3') | indent(8) }}
        and {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }}
        and {{ raw_value }} = any(cast($4 as text[]))
        and not exists (
            select 1 as found
            from quarantined
            where quarantined.row_key = {{ key_text(entry.key, 'application') }}
        )
    group by {{ tenant_text('application', entry.tenant) }}
)

insert into {{ ref('stage_migration_batches') }} (
    run_id, schema_name, table_name, column_name, range_no, fund_id, range_end, rows_in_batch
)
select
    cast($1 as uuid) as run_id,
    {{ app_schema() }} as schema_name,
    {{ table_text }} as table_name,
    {{ column_text }} as column_name,
    (select max(own_batches.range_no) from own_batches)
    + row_number() over (order by moved_rows.fund_id) as range_no,
    moved_rows.fund_id,
    cast($3 as text[]) as range_end,
    moved_rows.row_count
from moved_rows
where
    not exists (
        select 1 as found
        from own_batches
        where own_batches.fund_id is not distinct from moved_rows.fund_id
    )
    and {{ holds_run(ref('stage_migration_control'), '$1', '$5') | indent(4) }}
returning batch_id;

-- name: {{ statement_name('missed_rows', entry) }}(run_id, tenants, range_end, values_before)
-- Rows that still have a planned value at the very end: never changed by this run although the plan
-- saw them, or written after the plan.
{%- set is_left %}
{{ key_in_range(entry.key, 'application', 'null', '$3') }}
and {{ in_scope(entry.tenant, 'application', '$2') }}
and {{ raw_value }} = any(cast($4 as text[]))
{%- endset %}
with {{ dirty_rows(entry, is_left | trim) }}

select
    dirty_rows.raw_value,
    count(*) as row_count,
    count(*) filter (where dirty_rows.is_missed) as never_changed,
    min(dirty_rows.row_key) as example
from dirty_rows
group by dirty_rows.raw_value
order by
    row_count desc,
    dirty_rows.raw_value asc;

-- name: {{ statement_name('skip_to', entry) }}(run_id, resume_from)
-- `--resume-from KEY`: batches up to the key are closed without being run, and the batch that holds
-- the key begins after it, even if a runner died in the middle of that batch: no runner has the run
-- now. The order is that of the table's own collation.
with resume_key as (
    select {{ numbered_columns(entry.key, 'application') }}
    from {{ application_table(entry) }} as application
    where false
    union all
    select {{ key_values(entry.key, '$2') }}
)

update {{ ref('stage_migration_batches') }} as batches
set
    error_message = 'skipped by --resume-from',
    status = case
        when ({{ key_values(entry.key, 'batches.range_end') }}) <= ({{ resume_from }})
            then 'cancelled'
        when batches.status = 'running' then 'pending'
        else batches.status
    end,
    lease_token = null,
    lease_until = null,
    range_start = case
        when ({{ key_values(entry.key, 'batches.range_end') }}) <= ({{ resume_from }})
            then batches.range_start
        else cast($2 as text[])
    end,
    updated_at = now()
from resume_key
where
    batches.run_id = $1
    and batches.table_name = {{ table_text }}
    and batches.column_name = {{ column_text }}
    and batches.status in ('pending', 'running', 'failed')
    and (
        batches.range_start is null
        or ({{ key_values(entry.key, 'batches.range_start') }}) < ({{ resume_from }})
    )
returning batches.batch_id;
{%- endfor %}
