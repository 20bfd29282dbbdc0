-- Named statements of `trueup plan`: one set per managed column, run in one snapshot. They read the
-- application's tables and write only to the ledger.
{%- for entry in managed_columns() %}

-- name: {{ statement_name('plan_glance', entry) }}(tenants)
-- Present counts: rows, NULLs, rows per value. If no value has to change, this is all that a plan
-- reads of the table. It runs in parallel, which an insert could not.
with counted_values as (
    select
        {{ binary_text('application.' ~ quoted(entry.column)) }} as raw_value,
        count(*) as row_count
    from {{ application_table(entry) }} as application
    where
        {{ in_scope(entry.tenant, 'application', '$1') | indent(8) }}
    group by {{ binary_text('application.' ~ quoted(entry.column)) }}
)

select
    cast(
        coalesce(
            sum(counted_values.row_count) filter (where counted_values.raw_value is null), 0
        ) as bigint
    ) as null_total,
    cast(coalesce(sum(counted_values.row_count), 0) as bigint) as row_total,
    coalesce(
        cast(
            jsonb_object_agg(counted_values.raw_value, counted_values.row_count)
            filter (where counted_values.raw_value is not null) as text
        ),
        '{}'
    ) as row_counts
from counted_values;

-- name: {{ statement_name('plan_values', entry) }}(run_id, null_total, row_counts)
-- Stores the decisions about {{ entry.table }}.{{ entry.column }}: the meaning and the rows of each
-- value that is not canonical. row_counts: from plan_glance. Values that will
-- change are numbered, the commonest first; the audit stores the number in two bytes.
with vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

observed_values as {{ computed_once() }} (
    select
        '{{ entry.vocabulary }}' as vocabulary,
        {{ binary_text('counts.raw_value') }} as raw_value,
        cast(counts.row_text as bigint) as row_count
    from jsonb_each_text(cast($3 as jsonb)) as counts (raw_value, row_text)
    union all
    select
        '{{ entry.vocabulary }}' as vocabulary,
        null as raw_value,
        cast($2 as bigint) as row_count
    where cast($2 as bigint) > 0
),

{{ resolve('observed_values') }},

judged_values as (
    select
        resolved_values.raw_value,
        resolved_values.row_count,
        resolved_values.resolution,
        resolved_values.canonical_value
    from resolved_values
    where resolved_values.resolution <> 'canonical'
)

insert into {{ ref('migration_value_map') }} (
    run_id, schema_name, table_name, column_name, map_id, value_before, value_after, match_type,
    rows_planned
)
select
    cast($1 as uuid) as run_id,
    {{ app_schema() }} as schema_name,
    {{ literal(entry.table) }} as table_name,
    {{ literal(entry.column) }} as column_name,
    case
        when judged_values.canonical_value is not null
            then cast(
                row_number() over (
                    partition by judged_values.canonical_value is not null
                    order by judged_values.row_count desc, judged_values.raw_value asc
                ) as smallint
            )
    end as map_id,
    judged_values.raw_value,
    judged_values.canonical_value,
    judged_values.resolution,
    judged_values.row_count
from judged_values
returning map_id;

-- name: {{ statement_name('plan_bound', entry) }}()
-- The frozen bound: the last key of the table now. Rows beyond it are not in this run.
select {{ key_texts(entry.key, 'application') }} as range_end
from {{ application_table(entry) }} as application
order by {{ key_columns(entry.key, 'application', 'desc') }}
limit 1;

-- name: {{ statement_name('plan_baselines', entry) }}(run_id, tenants)
-- Once there is something to change: stores the counts from before the run, by tenant, which
-- verification compares with.
{{ stored_baselines(entry) }};
{%- if is_integer_key(entry.key) %}

-- name: {{ statement_name('plan_spread', entry) }}(stripes, hashed, batch_rows)
-- Of the first rows by key, does the fullest stripe have more than 1.5 times its share?
with first_rows as (
    select
        {{ stripe_of(entry.key, 'application', '$1', '$2') | indent(8) }} as stripe
    from {{ application_table(entry) }} as application
    order by {{ key_columns(entry.key, 'application') }}
    limit cast($3 as bigint) * cast($1 as bigint)
),

stripe_sizes as (
    select count(*) as row_count
    from first_rows
    group by first_rows.stripe
)

select
    coalesce(
        sum(stripe_sizes.row_count) >= 10 * cast($1 as bigint)
        and max(stripe_sizes.row_count) * cast($1 as bigint) > 1.5 * sum(stripe_sizes.row_count),
        false
    ) as is_skewed
from stripe_sizes;
{%- endif %}

-- name: {{ statement_name('plan_batches', entry) }}(run_id, tenants, stripes,
--     hashed, batch_rows, by_tenant, range_end)
-- Cut {{ entry.table }} into ranges of the key, by rows and not by key width, and each range into
-- stripes. A batch reads all rows of its stripe, so the ranges cover all rows, also those of
-- tenants that are not in scope; only rows in scope are counted. By tenant, each tenant's rows are
-- cut separately. The end of the last range is the frozen bound.
{%- set fund_id %}
case
    when cast($6 as boolean)
        then {{ tenant_text('application', entry.tenant) }}
end
{%- endset %}
with planned_values as (
    select * from {{ ref('migration_value_map') }}
),

placed_rows as (
    select
        {{ numbered_columns(entry.key, 'application') }},
        {{ fund_id | trim | indent(8) }} as fund_id,
        row_number() over (
            partition by
                {{ fund_id | trim | indent(16) }}
            order by {{ key_columns(entry.key, 'application') }}
        ) as place,
        {{ stripe_of(entry.key, 'application', '$3', '$4') | indent(8) }} as stripe,
        {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }} as is_in_scope,
        planned_values.map_id is not null as is_planned
    from {{ application_table(entry) }} as application
    left join planned_values
        on
            {{ binary_text('application.' ~ quoted(entry.column)) }} = planned_values.value_before
            and planned_values.run_id = $1
            and planned_values.table_name = {{ literal(entry.table) }}
            and planned_values.column_name = {{ literal(entry.column) }}
            and planned_values.map_id is not null
    where
        not cast($6 as boolean)
        or {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }}
),

counted_stripes as (
    select
        placed_rows.fund_id,
        (placed_rows.place - 1) / (cast($5 as bigint) * cast($3 as bigint)) as range_no,
        placed_rows.stripe,
        count(*) filter (where placed_rows.is_in_scope) as row_count,
        count(*) filter (
            where placed_rows.is_in_scope and placed_rows.is_planned
        ) as planned_count,
        max({{ key_texts(numbered_key(entry.key), 'placed_rows') }}) filter (
            where placed_rows.place % (cast($5 as bigint) * cast($3 as bigint)) = 0
        ) as last_key
    from placed_rows
    group by
        placed_rows.fund_id,
        (placed_rows.place - 1) / (cast($5 as bigint) * cast($3 as bigint)),
        placed_rows.stripe
),

range_keys as (
    select
        counted_stripes.fund_id,
        counted_stripes.range_no,
        max(counted_stripes.last_key) as last_key,
        lead(counted_stripes.range_no) over (
            partition by counted_stripes.fund_id
            order by counted_stripes.range_no
        ) is null as is_last
    from counted_stripes
    group by
        counted_stripes.fund_id,
        counted_stripes.range_no
),

range_ends as (
    select
        range_keys.fund_id,
        range_keys.range_no,
        case when range_keys.is_last then cast($7 as text[]) else range_keys.last_key end
            as range_end
    from range_keys
),

ranges as (
    select
        range_ends.fund_id,
        range_ends.range_no,
        range_ends.range_end,
        lag(range_ends.range_end) over (
            partition by range_ends.fund_id
            order by range_ends.range_no
        ) as range_start,
        row_number() over (order by range_ends.fund_id, range_ends.range_no) - 1 as place
    from range_ends
),

stripe_numbers as (
    select cast(numbers.stripe as integer) as stripe
    from generate_series(0, cast($3 as integer) - 1) as numbers (stripe)
)

insert into {{ ref('stage_migration_batches') }} (
    run_id, schema_name, table_name, column_name, range_no, fund_id, range_start, range_end, stripe,
    stripes, hashed, rows_in_batch, rows_planned
)
select
    cast($1 as uuid) as run_id,
    {{ app_schema() }} as schema_name,
    {{ literal(entry.table) }} as table_name,
    {{ literal(entry.column) }} as column_name,
    ranges.place as range_no,
    ranges.fund_id,
    ranges.range_start,
    ranges.range_end,
    stripe_numbers.stripe,
    cast($3 as integer) as stripes,
    cast($4 as boolean) as hashed,
    coalesce(counted_stripes.row_count, 0) as rows_in_batch,
    coalesce(counted_stripes.planned_count, 0) as rows_planned
from ranges
cross join stripe_numbers
left join counted_stripes
    on
        ranges.range_no = counted_stripes.range_no
        and ranges.fund_id is not distinct from counted_stripes.fund_id
        and stripe_numbers.stripe = counted_stripes.stripe
order by
    ranges.place,
    stripe_numbers.stripe;

-- name: {{ statement_name('plan_examples', entry) }}(run_id, tenants, examples)
-- The first rows that will change, for a person to look at.
with planned_values as (
    select * from {{ ref('migration_value_map') }}
)

select
    json_build_object(
        'row_key', {{ key_text(entry.key, 'application') }},
        'tenant', {{ tenant_text('application', entry.tenant) }},
        'before', planned_values.value_before,
        'after', planned_values.value_after
    ) as example
from {{ application_table(entry) }} as application
inner join planned_values
    on
        {{ binary_text('application.' ~ quoted(entry.column)) }} = planned_values.value_before
where
    planned_values.run_id = $1
    and planned_values.table_name = {{ literal(entry.table) }}
    and planned_values.column_name = {{ literal(entry.column) }}
    and planned_values.map_id is not null
    and {{ in_scope(entry.tenant, 'application', '$2') | indent(4) }}
order by {{ key_columns(entry.key, 'application') }}
limit cast($3 as integer);
{%- endfor %}

-- name: plan__column(run_id, table_name, column_name)
-- One document: what the plan has stored about a column, for people and for `--format json`.
-- rows_pending: rows whose value is not canonical, changed or not. values: the new value of each
-- value, or none if it is left alone, the commonest first. tenants: the changes by tenant.
with value_map as (
    select * from {{ ref('migration_value_map') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

column_values as {{ computed_once() }} (
    select
        value_map.map_id,
        value_map.value_before,
        value_map.value_after,
        value_map.match_type,
        value_map.rows_planned
    from value_map
    where
        value_map.run_id = $1
        and value_map.table_name = $2
        and value_map.column_name = $3
),

column_tenants as (
    select
        baselines.tenant,
        baselines.rows,
        baselines.row_counts
    from baselines
    where
        baselines.run_id = $1
        and baselines.table_name = $2
        and baselines.column_name = $3
),

tenant_values as (
    select
        column_tenants.tenant,
        column_values.map_id,
        column_values.value_before,
        column_values.value_after,
        cast(counts.row_text as bigint) as row_count
    from column_tenants
    cross join jsonb_each_text(column_tenants.row_counts) as counts (raw_value, row_text)
    inner join column_values
        on counts.raw_value = column_values.value_before
    where column_values.map_id is not null
),

tenants as (
    select
        tenant_values.tenant,
        sum(tenant_values.row_count) as rows_planned,
        json_agg(
            json_build_object(
                'before', tenant_values.value_before,
                'after', tenant_values.value_after,
                'rows', tenant_values.row_count
            )
            order by tenant_values.row_count desc, tenant_values.map_id asc
        ) as planned_values
    from tenant_values
    group by tenant_values.tenant
),

listed_tenants as (
    select
        json_agg(
            json_build_object(
                'tenant', tenants.tenant,
                'rows_planned', tenants.rows_planned,
                'values', tenants.planned_values
            )
            order by tenants.rows_planned desc, tenants.tenant asc
        ) as tenants
    from tenants
),

listed_values as (
    select
        json_agg(
            json_build_object(
                'before', column_values.value_before,
                'after', column_values.value_after,
                'match_type', column_values.match_type,
                'rows', column_values.rows_planned
            )
            order by column_values.rows_planned desc, column_values.value_before asc
        ) as planned_values,
        sum(column_values.rows_planned) filter (
            where column_values.map_id is not null
        ) as rows_planned,
        sum(column_values.rows_planned) filter (
            where column_values.value_before is not null
        ) as rows_pending
    from column_values
),

counted_rows as (
    select sum(column_tenants.rows) as row_total
    from column_tenants
),

counted_batches as (
    select count(*) as batches
    from batches
    where
        batches.run_id = $1
        and batches.table_name = $2
        and batches.column_name = $3
),

final as (
    select
        json_build_object(
            'table_name', cast($2 as text),
            'column_name', cast($3 as text),
            'rows', coalesce(counted_rows.row_total, 0),
            'rows_planned', coalesce(listed_values.rows_planned, 0),
            'rows_pending', coalesce(listed_values.rows_pending, 0),
            'batches', counted_batches.batches,
            'values', coalesce(listed_values.planned_values, '[]'),
            'tenants', coalesce(listed_tenants.tenants, '[]')
        ) as planned
    from counted_rows
    cross join counted_batches
    cross join listed_values
    cross join listed_tenants
)

select * from final;
