-- Named statements of `trueup apply`: one set per managed column. apply_batch is the only statement
-- that changes rows of the application. They are stored in the plan and run without any change.
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}
{%- set key = numbered_key(entry.key) %}
{%- set resume_from = key_columns(key, 'resume_key') %}

{%- set of_key = (['by_tenant', 'fund_id'] if entry.tenant else [])
    + (['hashed', 'dense'] if is_integer_key(entry.key) else []) %}

{%- for purpose in ['apply_batch', 'apply_batch_comparing'] %}
{%- set compares = purpose == 'apply_batch_comparing' %}
{%- set planned = 'older_rows' if compares else 'value_map' %}
{%- set parameters = ['batch_id', 'lease_token', 'range_start', 'range_end', 'stripe', 'stripes',
    'tenants', 'values_before', 'values_after', 'map_ids', 'canonical_values'] + of_key %}
{%- set numbers = parameter_numbers(parameters) %}
{%- set raw_value = binary_text('application.' ~ quoted(entry.column)) %}

-- name: {{ statement_name(purpose, entry) }}(batch_id, lease_token,
--     range_start, range_end, stripe, stripes, tenants, values_before, values_after, map_ids,
--     canonical_values{{ ', by_tenant, fund_id' if entry.tenant -}}
{{- ', hashed, dense' if is_integer_key(entry.key) }})
-- One batch, or a piece of one: the rows of one stripe of one key range whose value is in the plan.
-- Rows, audit entry and progress are one statement: all of them are written, or none.
{%- if compares %}
-- Each row is joined to its own version from before the update, so that a change of any other
-- column is seen; a row that is edited at the same time is left to the next pass. The plan inserts
-- the names of these columns, from the catalog, at the marked places.
{%- endif %}
with {{ held_batch('$1', '$2') }},

value_map as (
    select
        mappings.value_before,
        mappings.value_after,
        mappings.map_id
    from
        unnest(cast($8 as text[]), cast($9 as text[]), cast($10 as smallint[]))
            as mappings (value_before, value_after, map_id)
),
{%- if is_integer_key(entry.key) %}

chunks as (
    -- If keys have no large gaps, the numbers of the stripe are looked up, 128 at a time. Otherwise
    -- the whole range is read, and this CTE has one row that is not used.
    {{ numbers_of_stripe(entry.key, numbers) | indent(4) }}
),
{%- endif %}
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
    {%- if is_integer_key(entry.key) %}
    cross join chunks
    {%- endif %}
    where
        {{ planned_row(entry, numbers) | indent(8) }}
),
{%- endif %}

changed as (
    -- Compare and swap: a row whose value is not, or no longer, the planned one is left alone.
    update {{ application_table(entry) }} as application
    set {{ quoted(entry.column) }} = {{ planned }}.value_after
    from
        fence,
        {{- '\n        chunks,' if is_integer_key(entry.key) and not compares }}
        {{ planned }}
    where
        {{ (same_version(entry) if compares else planned_row(entry, numbers)) | indent(8) }}
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

{{ recorded_changes(
    'update', ref('stage_normalization_changes'), ref('stage_migration_batches'), compares
) }};
{%- endfor %}

{%- set parameters = ['range_start', 'range_end', 'stripe', 'stripes', 'tenants',
    'values_before'] + of_key %}
{%- set numbers = parameter_numbers(parameters) %}

-- name: {{ statement_name('keys_to_change', entry) }}(range_start, range_end, stripe, stripes,
--     tenants, values_before{{ ', by_tenant, fund_id' if entry.tenant -}}
{{- ', hashed, dense' if is_integer_key(entry.key) }})
-- The keys of the rows that a batch, or a piece of one, would change, in order: where to cut it.
{%- if is_integer_key(entry.key) %}
with chunks as (
    {{ numbers_of_stripe(entry.key, numbers) | indent(4) }}
)
{% endif %}
select {{ key_texts(entry.key, 'application') }} as key_texts
from
    {{ 'chunks,\n    ' if is_integer_key(entry.key) -}}
    {{ application_table(entry) }} as application
where
    {{ in_batch(entry, numbers) | indent(4) }}
    and {{ binary_text('application.' ~ quoted(entry.column)) }} = any(cast($6 as text[]))
order by {{ key_columns(entry.key, 'application') }};

-- name: {{ statement_name('quarantine', entry) }}(batch_id, lease_token, range_end, sqlstate,
--     error_message)
-- Records the one row that the database refuses to change, with its value and the error.
with refused as (
    select
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ binary_text('application.' ~ quoted(entry.column)) }} as value_before
    from {{ application_table(entry) }} as application
    where ({{ key_columns(entry.key, 'application') }}) = ({{ key_values(entry.key, '$3') }})
),

{{ recorded_refusal() }};

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
        {{ binary_text('application.' ~ quoted(entry.column)) }} as raw_value,
        count(*) as row_count
    from {{ application_table(entry) }} as application
    where
        {{ key_in_range(entry.key, 'application', 'null', '$3') | indent(8) }}
        and {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }}
    group by {{ binary_text('application.' ~ quoted(entry.column)) }}
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
with quarantined as {{ computed_once() }} (
    select quarantine.row_key
    from {{ ref('migration_quarantine') }} as quarantine
    where
        quarantine.run_id = $1
        and quarantine.table_name = {{ table_text }}
        and quarantine.column_name = {{ column_text }}
),

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
                and {{ binary_text('application.' ~ quoted(entry.column)) }}
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

-- name: {{ statement_name('missed_rows', entry) }}(run_id, tenants, range_end, values_before)
-- Rows that still have a planned value at the very end: never changed by this run although the plan
-- saw them, or written after the plan.
{%- set is_left %}
{{ key_in_range(entry.key, 'application', 'null', '$3') }}
and {{ in_scope(entry.tenant, 'application', '$2') }}
and {{ binary_text('application.' ~ quoted(entry.column)) }} = any(cast($4 as text[]))
{%- endset %}
with runs as (
    select * from {{ ref('migration_runs') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

{{ dirty_rows(entry, is_left | trim) }}

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
