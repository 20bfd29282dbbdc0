-- Named statements of `trueup plan --rehearse`. Rows of the application are read here, not changed:
-- the one batch that is tried out and rolled back is the plan's own apply_batch. What else changes
-- rows here changes those of a scratch table in the ledger's schema.

-- name: rehearsal__batch(run_id, table_name, column_name)
-- The batch to try out: the one with the most rows to change.
select
    batches.batch_id,
    batches.range_start,
    batches.range_end,
    batches.stripe,
    batches.stripes,
    batches.hashed,
    batches.dense,
    batches.fund_id,
    batches.rows_planned
from {{ ref('stage_migration_batches') }} as batches
where
    batches.run_id = $1
    and batches.table_name = $2
    and batches.column_name = $3
    and batches.status = 'pending'
order by
    batches.rows_planned desc,
    batches.batch_id asc
limit 1;

-- name: rehearsal__range(run_id, table_name, column_name)
-- The range to copy: the one with the row in the middle of all that will change. And what the whole
-- column has.
with ranges as (
    select
        batches.fund_id,
        batches.range_start,
        batches.range_end,
        batches.stripes,
        batches.hashed,
        min(batches.batch_id) as first_batch,
        count(*) as batch_count,
        sum(batches.rows_in_batch) as row_count,
        sum(batches.rows_planned) as planned_count
    from {{ ref('stage_migration_batches') }} as batches
    where
        batches.run_id = $1
        and batches.table_name = $2
        and batches.column_name = $3
    group by
        batches.fund_id,
        batches.range_start,
        batches.range_end,
        batches.stripes,
        batches.hashed
),

placed_ranges as (
    select
        ranges.*,
        sum(ranges.planned_count) over (order by ranges.first_batch) as planned_so_far,
        sum(ranges.planned_count) over () as planned_total,
        sum(ranges.row_count) over () as row_total,
        sum(ranges.batch_count) over () as batch_total
    from ranges
)

select
    placed_ranges.range_start,
    placed_ranges.range_end,
    placed_ranges.stripes,
    placed_ranges.hashed,
    placed_ranges.row_total,
    placed_ranges.batch_total
from placed_ranges
where placed_ranges.planned_so_far * 2 >= placed_ranges.planned_total
order by placed_ranges.first_batch
limit 1;

-- name: rehearsal__take(batch_id, lease_token)
-- In the transaction that is rolled back: the batch is ours, as claim_range makes it.
update {{ ref('stage_migration_batches') }} as batches
set
    status = 'running',
    lease_token = $2,
    attempts = batches.attempts + 1,
    started_at = now(),
    updated_at = now()
where
    batches.batch_id = $1
    and batches.status = 'pending'
returning batches.batch_id;

-- name: rehearsal__writes(table_name, ledger_schema)
-- What this connection has written and not yet reported, by table: asked twice, the difference is
-- what happened in between. is_own: the table of the column, or a partition of it.
with own_relations as (
    select cast(cast($1 as text) as regclass) as relid
    union
    select tree.relid
    from pg_partition_tree(cast(cast($1 as text) as regclass)) as tree
)

select
    counters.n_tup_ins,
    counters.n_tup_upd,
    counters.n_tup_del,
    format('%I.%I', counters.schemaname, counters.relname) as qualified,
    own_relations.relid is not null as is_own
from pg_stat_xact_user_tables as counters
left join own_relations
    on counters.relid = own_relations.relid
where
    counters.n_tup_ins + counters.n_tup_upd + counters.n_tup_del > 0
    and counters.schemaname <> $2;

-- name: rehearsal__audited(run_id, batch_id)
-- How many rows the audit entry is about that was written for its cost.
select coalesce(sum(cardinality(changes.row_keys)), 0) as row_count
from {{ ref('stage_normalization_changes') }} as changes
where
    changes.run_id = $1
    and changes.batch_id = $2;

-- name: rehearsal__counters(relation)
-- Of the scratch table: updates and HOT updates that are not yet reported, and its sizes in bytes.
select
    coalesce(counters.n_tup_upd, 0) as updates,
    coalesce(counters.n_tup_hot_upd, 0) as hot_updates,
    pg_relation_size(relations.relid) as heap_bytes,
    pg_indexes_size(relations.relid) as index_bytes
from (values (cast(cast($1 as text) as regclass))) as relations (relid)
left join pg_stat_xact_user_tables as counters
    on relations.relid = counters.relid;

-- name: rehearsal__store(run_id, rehearsal)
-- With the plan, for the report to compare with the run.
update {{ ref('migration_runs') }} as runs
set rehearsal = cast($2 as jsonb)
where runs.run_id = $1;
{%- for entry in managed_columns() %}
{%- set value = binary_text('application.' ~ quoted(entry.column)) %}

-- name: {{ statement_name('rehearsal_rows', entry) }}(range_start, range_end, stripe, stripes,
--     tenants, values_before{{ ', hashed' if is_integer_key(entry.key) }})
-- The rows that a batch would change, whole: all other columns as one text, to be compared.
select
    {{ key_text(entry.key, 'application') }} as row_key,
    cast(application.xmin as text) as row_version,
    {{ value }} as raw_value,
    cast(to_jsonb(application.*) - {{ literal(entry.column) }} as text) as other_columns
from {{ application_table(entry) }} as application
where
    {{ key_in_range(entry.key, 'application', '$1', '$2') | indent(4) }}
    and {{ stripe_of(entry.key, 'application', '$4', '$7') | indent(4) }} = cast($3 as bigint)
    and {{ in_scope(entry.tenant, 'application', '$5') | indent(4) }}
    and {{ value }} = any(cast($6 as text[]));

-- name: {{ statement_name('rehearsal_rows_again', entry) }}(row_keys)
-- The same rows again, by their keys, whatever has become of them.
select
    {{ key_text(entry.key, 'application') }} as row_key,
    cast(application.xmin as text) as row_version,
    {{ value }} as raw_value,
    cast(to_jsonb(application.*) - {{ literal(entry.column) }} as text) as other_columns
from unnest(cast($1 as text[])) as wanted (row_key)
inner join {{ application_table(entry) }} as application
    on
        ({{ key_columns(entry.key, 'application') }})
        = ({{ key_from_text(entry.key, 'wanted.row_key') }});

-- name: {{ statement_name('rehearsal_copy', entry) }}(range_start, range_end, row_limit)
-- The first rows of a range, with the place that each has on disk: they are copied in that order.
-- The columns that can be copied, as the catalog has them, are named where it says so here.
select
    cast(application.tableoid as bigint) as trueup_partition,
    application.ctid as trueup_place -- other columns
from {{ application_table(entry) }} as application
where
    {{ key_in_range(entry.key, 'application', '$1', '$2') | indent(4) }}
order by {{ key_columns(entry.key, 'application') }}
limit cast($3 as bigint);

-- name: {{ statement_name('rehearsal_pages', entry) }}(tenants, values_before)
-- Of the scratch table: rows, rows to change, and the pages that these are on; their tenants.
with scratch_rows as (
    select
        {{ value }} = any(cast($2 as text[]))
        and {{ in_scope(entry.tenant, 'application', '$1') | indent(8) }} as is_planned,
        {{ tenant_text('application', entry.tenant) }} as tenant,
        -- a place is (page, number on the page)
        split_part(cast(application.ctid as text), ',', 1) as page
    from {{ rehearsal_table(entry) }} as application
)

select
    count(*) as row_count,
    count(*) filter (where scratch_rows.is_planned) as planned_count,
    count(distinct scratch_rows.page) filter (where scratch_rows.is_planned) as page_count,
    array_agg(distinct scratch_rows.tenant) filter (where scratch_rows.is_planned) as tenants
from scratch_rows;

-- name: {{ statement_name('rehearsal_update', entry) }}(stripe, stripes, tenants,
--     values_before, values_after, other_columns{{ ', hashed' if is_integer_key(entry.key) }})
-- As apply_batch would, in the scratch table. It has no triggers: the columns that they were seen
-- to change are named where it says so here, and get the value that a trigger gave to another row.
update {{ rehearsal_table(entry) }} as application
set
    {{ quoted(entry.column) }} = value_map.value_after -- other columns
from
    jsonb_populate_record(
        cast(null as {{ rehearsal_table(entry) }}), cast($6 as jsonb)
    ) as new_values,
    unnest(cast($4 as text[]), cast($5 as text[])) as value_map (value_before, value_after)
where
    {{ stripe_of(entry.key, 'application', '$2', '$7') | indent(4) }} = cast($1 as bigint)
    and {{ in_scope(entry.tenant, 'application', '$3') | indent(4) }}
    and {{ value }} = value_map.value_before;

-- name: {{ statement_name('rehearsal_audit', entry) }}(run_id, batch_id, stripe,
--     stripes, tenants, values_before, map_ids{{ ', hashed' if is_integer_key(entry.key) }})
-- The audit entry of one such batch; rolled back, its WAL is measured.
insert into {{ ref('stage_normalization_changes') }} (
    run_id, batch_id, row_keys, tenants, map_ids, action
)
select
    cast($1 as uuid) as run_id,
    cast($2 as bigint) as batch_id,
    array_agg({{ key_text(entry.key, 'application') }}) as row_keys,
    array_agg({{ tenant_text('application', entry.tenant) }}) as tenants,
    array_agg(value_map.map_id) as map_ids,
    'update' as action
from {{ rehearsal_table(entry) }} as application
inner join
    unnest(cast($6 as text[]), cast($7 as smallint[])) as value_map (value_before, map_id)
    on {{ value }} = value_map.value_before
where
    {{ stripe_of(entry.key, 'application', '$4', '$8') | indent(4) }} = cast($3 as bigint)
    and {{ in_scope(entry.tenant, 'application', '$5') | indent(4) }}
having count(*) > 0;
{%- endfor %}
