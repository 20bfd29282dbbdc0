-- Named statements of `trueup plan --rehearse` and `trueup apply --dry-run`. apply_batch changes
-- one batch of each column in a transaction that is rolled back. Its cost is the basis for the
-- estimate of the whole run.

-- name: rehearsal__batches(run_id)
-- The batch to try of each column: the one with the most rows to change. values_before and
-- values_after: the changes of the column. rows_read, rows_to_change and batch_total: of all its
-- batches.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

ranked_batches as (
    select
        batches.*,
        sum(batches.rows_in_batch) over by_column as rows_read,
        sum(batches.rows_planned) over by_column as rows_to_change,
        count(*) over by_column as batch_total,
        row_number() over (
            partition by batches.table_name, batches.column_name
            order by batches.rows_planned desc, batches.batch_id asc
        ) as place,
        min(batches.batch_id) over by_column as first_id
    from batches
    where batches.run_id = $1
    window by_column as (partition by batches.table_name, batches.column_name)
),

changes as (
    select
        value_map.table_name,
        value_map.column_name,
        array_agg(value_map.map_id order by value_map.map_id) as map_ids,
        array_agg(value_map.value_before order by value_map.map_id) as values_before,
        array_agg(value_map.value_after order by value_map.map_id) as values_after
    from value_map
    where
        value_map.run_id = $1
        and value_map.map_id is not null
    group by
        value_map.table_name,
        value_map.column_name
)

select
    ranked_batches.table_name,
    ranked_batches.column_name,
    ranked_batches.batch_id,
    ranked_batches.range_start,
    ranked_batches.range_end,
    ranked_batches.stripe,
    ranked_batches.stripes,
    ranked_batches.hashed,
    ranked_batches.fund_id,
    ranked_batches.rows_planned,
    ranked_batches.rows_read,
    ranked_batches.rows_to_change,
    ranked_batches.batch_total,
    changes.map_ids,
    changes.values_before,
    changes.values_after
from ranked_batches
inner join changes
    on
        ranked_batches.table_name = changes.table_name
        and ranked_batches.column_name = changes.column_name
where ranked_batches.place = 1
order by ranked_batches.first_id;

-- name: rehearsal__take(batch_id, run_id, table_name, column_name, lease_token)
-- In the transaction that is rolled back: creates a batch as if a runner had claimed it. It is not
-- one of the plan's batches; these are not touched, and may be done already (a dry run).
with control as (
    insert into {{ ref('stage_migration_control') }} (
        run_id, schema_name, table_name, column_name, target_ms, sleep_ms, workers
    )
    values ($2, {{ app_schema() }}, $3, $4, 1, 0, 1)
)

insert into {{ ref('stage_migration_batches') }} (
    batch_id, run_id, schema_name, table_name, column_name, range_no, range_end, status, lease_token
)
overriding system value
values ($1, $2, {{ app_schema() }}, $3, $4, 0, '{}', 'running', $5);

-- name: rehearsal__writes(relation)
-- The rows that this connection has written since its statistics were last sent, by table: the
-- difference of two calls is the number of rows written in between. Partitions count as their
-- table.
with own_relations as (
    select cast(cast($1 as text) as regclass) as relid
    union
    select tree.relid
    from pg_partition_tree(cast(cast($1 as text) as regclass)) as tree
)

select
    actions.name as action,
    cast(sum(actions.row_count) as bigint) as row_count,
    case
        when own_relations.relid is null
            then format('%I.%I', counters.schemaname, counters.relname)
        else $1
    end as relation
from pg_stat_xact_user_tables as counters
left join own_relations
    on counters.relid = own_relations.relid
cross join
    lateral (
        values
        ('inserted', counters.n_tup_ins),
        ('updated', counters.n_tup_upd),
        ('deleted', counters.n_tup_del)
    ) as actions (name, row_count)
where counters.schemaname <> {{ literal(var('ledger_schema', 'trueup_ledger')) }}
group by
    action,
    relation;

-- name: rehearsal__predict(relation, tried)
-- Estimated cost of the whole run, from the cost of the tried batch: two ranges, pauses included.
--
-- Time, low: a row takes half as long as in the tried batch, and the workers share all evenly.
-- Time, high: each batch takes twice as long as the tried one, one worker does it all, and a run
-- takes a second to begin and to end.
--
-- Log, low: no page is written whole. If updates can be HOT, a row costs 72 bytes at least, the
-- shortest record of such an update; how many will be is not known. If an index rules HOT out, a
-- row costs three quarters of what it has cost in the tried batch.
--
-- Log, high: each row costs what it has cost in the tried batch, each page that an index gains is
-- written once, and PostgreSQL writes a page whole when it is first changed after a checkpoint. So
-- each page of the table and of its indexes is counted once, and once more for each checkpoint that
-- may begin during the run: one in any run, the others by checkpoint_timeout and by the share of
-- max_wal_size that starts one.
with tried as (
    select
        figures.rows_to_change as rows_planned, -- of the whole run
        figures.rows_read, -- by all its batches
        figures.batch_total as batches,
        figures.rows_planned as batch_rows, -- to change in the fullest batch
        figures.batch_size,
        figures.is_hot_possible,
        figures.sleep_ms,
        figures.workers,
        figures.rows_changed, -- in what was tried of it, at the cost that follows
        figures.duration_ms,
        figures.wal_bytes,
        figures.wal_records,
        figures.page_images
    from
        jsonb_to_record(cast($2 as jsonb)) as figures (
            rows_to_change numeric,
            rows_read numeric,
            batch_total numeric,
            rows_planned numeric,
            batch_size numeric,
            is_hot_possible boolean,
            sleep_ms numeric,
            workers numeric,
            rows_changed numeric,
            duration_ms numeric,
            wal_bytes numeric,
            wal_records numeric,
            page_images numeric
        )
),

server as (
    select
        cast(current_setting('block_size') as numeric) as page_bytes,
        case when current_setting('full_page_writes') = 'on' then 1 else 0 end as images_per_page,
        extract(epoch from cast(current_setting('checkpoint_timeout') as interval))
            as checkpoint_seconds,
        pg_size_bytes(current_setting('max_wal_size'))
        / (1 + cast(current_setting('checkpoint_completion_target') as numeric))
            as checkpoint_bytes
),

parts as (
    select cast(cast($1 as text) as regclass) as relid
    union
    select tree.relid
    from pg_partition_tree(cast(cast($1 as text) as regclass)) as tree
),

relations as (
    select
        parts.relid,
        0 as is_index
    from parts
    union all
    select
        pg_index.indexrelid as relid,
        1 as is_index
    from parts
    inner join pg_index on parts.relid = pg_index.indrelid
),

-- gained_pages: if no update is HOT
sizes as (
    select
        relations.is_index,
        ceil(pg_relation_size(relations.relid) / server.page_bytes) as pages,
        ceil(
            pg_relation_size(relations.relid) / server.page_bytes
            * tried.rows_planned / greatest(tried.rows_read, tried.rows_planned)
        ) as gained_pages
    from relations
    cross join server
    cross join tried
),

-- A row has two versions in the table, and a new entry in each index.
pages as (
    select
        sum(least(sizes.pages, tried.rows_planned * (2 - sizes.is_index))) as changed,
        sum(sizes.gained_pages) as gained,
        sum(sizes.gained_pages * sizes.is_index) as gained_by_indexes
    from sizes
    cross join tried
),

-- Bytes without page images, which are not of a row; 8 more per record, because each is rounded up.
row_costs as (
    select
        greatest(
            (tried.wal_bytes - tried.page_images * server.page_bytes) / tried.rows_changed, 72
        ) as wal_bytes,
        8 * tried.wal_records / tried.rows_changed as rounding_bytes,
        tried.duration_ms / 1000 / tried.rows_changed as duration
    from tried
    cross join server
),

-- The ledger writes about a page of log per batch, and some more per run.
log_parts as (
    select
        tried.rows_planned * (row_costs.wal_bytes + row_costs.rounding_bytes)
        + (pages.gained_by_indexes + tried.batches + 64) * server.page_bytes as record_bytes,
        pages.changed * server.images_per_page * server.page_bytes as image_bytes,
        (pages.changed + pages.gained + tried.batches) * server.images_per_page * server.page_bytes
            as bytes_per_checkpoint
    from tried
    cross join server
    cross join pages
    cross join row_costs
),

pauses as (
    select tried.rows_read * tried.sleep_ms / tried.batch_size / 1000 as duration
    from tried
),

durations as (
    select
        (tried.rows_planned * row_costs.duration / 2 + pauses.duration) / tried.workers as low,
        tried.batches * tried.batch_rows * row_costs.duration * 2 + pauses.duration + 1 as high
    from tried
    cross join row_costs
    cross join pauses
),

checkpoints as (
    select
        1 + floor(
            durations.high / server.checkpoint_seconds
            + (log_parts.record_bytes + log_parts.image_bytes) / server.checkpoint_bytes
        ) as checkpoint_count
    from server
    cross join log_parts
    cross join durations
)

select
    tried.rows_planned,
    round(durations.low, 1) as seconds_low,
    round(durations.high, 1) as seconds_high,
    round(
        tried.rows_planned
        * case when tried.is_hot_possible then 72 else row_costs.wal_bytes * 0.75 end
    ) as wal_bytes_low,
    round(
        log_parts.record_bytes
        + log_parts.image_bytes
        + log_parts.bytes_per_checkpoint * checkpoints.checkpoint_count
    ) as wal_bytes_high
from tried
cross join row_costs
cross join log_parts
cross join durations
cross join checkpoints;

-- name: rehearsal__store(run_id, rehearsal)
-- Stores the estimate with the plan; the report compares it with the run.
update {{ ref('migration_runs') }} as runs
set rehearsal = cast($2 as jsonb)
where runs.run_id = $1;
{%- for entry in managed_columns() %}
{%- set value = binary_text('application.' ~ quoted(entry.column)) %}

{%- set key = numbered_key(entry.key) %}
{%- set numbers = parameter_numbers(['first_place', 'last_place'] + key.keys() | list) %}

-- name: {{ statement_name('rehearsal_rows', entry) }}(first_place, last_place,
--     {{ key.keys() | join(', ') }})
-- The rows of a list of keys, whole: all other columns as one text, to be compared.
select
    {{ key_text(entry.key, 'application') }} as row_key,
    cast(application.xmin as text) as row_version,
    {{ value }} as raw_value,
    cast(to_jsonb(application.*) - {{ literal(entry.column) }} as text) as other_columns
from
    {{ listed_keys(entry.key, numbers) | indent(4) }}
inner join {{ application_table(entry) }} as application
    on
        ({{ key_columns(entry.key, 'application') }})
        = ({{ key_columns(key, 'listed') }});
{%- endfor %}
