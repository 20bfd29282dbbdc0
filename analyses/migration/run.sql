-- Named statements that keep a run's books: what was decided, who works on it, which batch is next,
-- how it ended. They touch the ledger only. Plain SQL, the same for every kind of run.

-- name: run__store(run_id, kind, record, options, statements, vocabulary_version, sources_sha256,
--     sql_sha256, git_commit, operator, environment, reverts_run_id)
-- A run that nobody has begun; seal_run completes it. planned_snapshot says which transactions the
-- plan has seen.
insert into {{ ref('migration_runs') }} (
    run_id, kind, status, record, options, statements, vocabulary_version, sources_sha256,
    plan_sha256, sql_sha256, git_commit, operator, environment, reverts_run_id
)
select
    cast($1 as uuid) as run_id,
    $2 as kind,
    'planned' as status,
    cast($3 as jsonb) as record,
    cast($4 as jsonb) || jsonb_build_object(
        'planned_snapshot', cast(pg_current_snapshot() as text)
    ) as options,
    cast($5 as jsonb) as statements,
    $6 as vocabulary_version,
    $7 as sources_sha256,
    '' as plan_sha256,
    $8 as sql_sha256,
    $9 as git_commit,
    $10 as operator,
    $11 as environment,
    cast($12 as uuid) as reverts_run_id;

-- name: run__store_control(run_id, table_name, column_name, range_end, target_ms, sleep_ms,
--     workers)
-- How a column of the run is steered. range_end: the frozen bound; NULL for an empty table.
insert into {{ ref('stage_migration_control') }} (
    run_id, schema_name, table_name, column_name, range_end, target_ms, sleep_ms, workers
)
values ($1, {{ app_schema() }}, $2, $3, $4, $5, $6, $7);

-- name: run__plan_digest(run_id)
-- Of what was decided, as the ledger has it: compared with the plan before rows are changed.
with {{ plan_digests('$1') }}

select plan_digests.plan_sha256 from plan_digests;

-- name: run__seal(run_id, findings)
-- Completes a run that was stored.
with {{ plan_digests('$1') }}

update {{ ref('migration_runs') }} as runs
set
    plan_sha256 = plan_digests.plan_sha256,
    findings = cast($2 as jsonb)
from plan_digests
where runs.run_id = $1
returning runs.plan_sha256;

-- name: run__unknown_tenants(run_id, tenants)
-- Tenants of which no row was counted: misspelt, most likely. That there are no rows of no tenant
-- is fine.
select string_agg(distinct asked.tenant, ', ' order by asked.tenant) as tenants
from unnest(cast($2 as text[])) as asked (tenant)
where
    not exists (
        select 1 as found
        from {{ ref('migration_baselines') }} as baselines
        where
            baselines.run_id = $1
            and baselines.tenant = asked.tenant
    )
having count(asked.tenant) > 0;

-- name: run__begin_batch(lock_timeout, statement_timeout, transaction_timeout, waits_for_disk,
--     by_keys)
-- First in every transaction of a batch; all in milliseconds, for this transaction only. The last
-- timeout (from PostgreSQL 17 on) releases the rows if a runner hangs before its COMMIT.
-- waits_for_disk: if not, a crash of the server may take back what was committed in its last
-- second, all of it: rows, audit and progress. by_keys: rows are found by a list of keys; the
-- planner does not know how long it is, and might read the whole table instead.
select
    case
        when not cast($4 as boolean)
            then set_config('synchronous_commit', 'off', true)
    end as synchronous_commit,
    case
        when cast($5 as boolean)
            then
                set_config('enable_mergejoin', 'off', true)
                || set_config('enable_seqscan', 'off', true)
                || set_config('enable_bitmapscan', 'off', true)
    end as way_of_reading,
    set_config('lock_timeout', $1, true) as lock_timeout,
    set_config('statement_timeout', $2, true) as statement_timeout,
    case
        when current_setting('transaction_timeout', true) is not null
            then set_config('transaction_timeout', $3, true)
    end as transaction_timeout,
    set_config('jit', 'off', true) as jit;

-- name: run__begin_images()
-- First in transactions that compare rows with what a run has left: what a row looks like as a text
-- depends on these settings. The last one is read by triggers that set updated_at: a run writes
-- what its source says, an undo what was there before.
select
    set_config('TimeZone', 'UTC', true) as time_zone,
    set_config('DateStyle', 'ISO, YMD', true) as date_style,
    set_config('IntervalStyle', 'postgres', true) as interval_style,
    set_config('bytea_output', 'hex', true) as bytea_output,
    set_config('extra_float_digits', '1', true) as extra_float_digits,
    set_config('trueup.keeps_times', 'on', true) as keeps_times;

-- name: run__begin_list()
-- First in transactions that list the keys of batches. Rows are read in the order of the table or
-- of its index, which is the best order to change them in; and a map of thousands of values is
-- hashed.
select
    set_config('enable_mergejoin', 'off', true) as enable_mergejoin,
    set_config('enable_nestloop', 'off', true) as enable_nestloop,
    set_config('enable_sort', 'off', true) as enable_sort,
    set_config('max_parallel_workers_per_gather', '0', true) as max_parallel_workers_per_gather;

-- name: run__begin_reading()
-- First in transactions that join the ledger with a whole table. The ledger is not analyzed between
-- a plan and its run, so the planner assumes one row for a map of thousands of values. A nested
-- loop over it takes minutes, a hash join one second.
select
    set_config('enable_nestloop', 'off', true) as enable_nestloop,
    set_config('jit', 'off', true) as jit;

-- name: run__vocabulary_versions(vocabularies)
-- The present versions of the vocabularies: a plan made with another version is stale.
select
    vocabularies.vocabulary,
    vocabularies.vocabulary_version
from {{ ref('dim_vocabularies') }} as vocabularies
where vocabularies.vocabulary = any(cast($1 as text[]))
order by vocabularies.vocabulary;

-- name: run__recent(most)
-- The newest runs with their totals.
select
    runs.run_id,
    runs.kind,
    runs.status,
    runs.operator,
    runs.environment,
    runs.planned_at,
    runs.started_at,
    runs.finished_at,
    states.state_text,
    states.taken_back_by,
    states.rows_taken_back,
    coalesce(sum(batches.rows_planned), 0) as rows_planned,
    coalesce(sum(batches.rows_updated), 0) as rows_updated,
    coalesce(sum(batches.rows_failed), 0) as rows_failed
from {{ ref('migration_runs') }} as runs
inner join {{ ref('migration_run_states') }} as states
    on runs.run_id = states.run_id
left join {{ ref('stage_migration_batches') }} as batches
    on runs.run_id = batches.run_id
group by
    runs.run_id,
    states.state_text,
    states.taken_back_by,
    states.rows_taken_back
order by runs.planned_at desc
limit cast($1 as bigint);

-- name: run__columns(run_id)
-- The columns of the run, with their frozen bounds.
with first_batches as (
    select
        batches.table_name,
        batches.column_name,
        min(batches.batch_id) as batch_id
    from {{ ref('stage_migration_batches') }} as batches
    where batches.run_id = $1
    group by
        batches.table_name,
        batches.column_name
)

select
    first_batches.table_name,
    first_batches.column_name,
    control.range_end
from first_batches
inner join {{ ref('stage_migration_control') }} as control
    on
        control.run_id = $1
        and first_batches.table_name = control.table_name
        and first_batches.column_name = control.column_name
order by first_batches.batch_id;

-- name: run__places(run_id)
-- The columns of the run in the order of the work: their batches, and how many of these are over.
select
    control.table_name,
    control.column_name,
    count(batches.batch_id) as batches,
    count(batches.batch_id) filter (
        where batches.status in ('completed', 'cancelled')
    ) as done
from {{ ref('stage_migration_control') }} as control
left join {{ ref('stage_migration_batches') }} as batches
    on
        control.run_id = batches.run_id
        and control.table_name = batches.table_name
        and control.column_name = batches.column_name
where control.run_id = $1
group by
    control.table_name,
    control.column_name
order by min(batches.batch_id);

-- name: run__value_map(run_id, table_name, column_name)
-- The planned changes of a column.
select
    value_map.value_before,
    value_map.value_after,
    value_map.map_id
from {{ ref('migration_value_map') }} as value_map
where
    value_map.run_id = $1
    and value_map.table_name = $2
    and value_map.column_name = $3
    and value_map.map_id is not null
order by value_map.map_id;

-- name: run__other_runners(run_id)
-- Other runs with a live lease on the same columns.
select
    theirs.run_id,
    theirs.table_name,
    theirs.column_name,
    theirs.lease_owner,
    theirs.lease_until
from {{ ref('stage_migration_control') }} as ours
inner join {{ ref('stage_migration_control') }} as theirs
    on
        ours.table_name = theirs.table_name
        and ours.column_name = theirs.column_name
where
    ours.run_id = $1
    and theirs.lease_until >= now();

-- name: run__lock_columns(run_id)
-- First in the transaction of take_lease: of two runs on the same column the second waits here, and
-- then sees the lease of the first. Locked until the end of the transaction, in the same order in
-- all sessions.
with ordered_columns as {{ computed_once() }} (
    select
        hashtextextended(
            'trueup ' || control.table_name || '.' || control.column_name, 0
        ) as lock_key
    from {{ ref('stage_migration_control') }} as control
    where control.run_id = $1
    order by lock_key
)

select count(pg_advisory_xact_lock(ordered_columns.lock_key)) as locked_columns
from ordered_columns;

-- name: run__take_lease(run_id, lease_token, lease_owner, lease_seconds, statuses)
-- One runner per run and per column: taken if it is free, or if the holder's heartbeat is overdue.
-- Returns a row for each column of the run; no row if another run holds one of the columns, if the
-- run has ended, or if a cancel was requested.
with open_run as (
    select runs.run_id
    from {{ ref('migration_runs') }} as runs
    where
        runs.run_id = $1
        and runs.status = any(cast($5 as text[]))
        and not exists (
            select 1 as found
            from {{ ref('stage_migration_control') }} as ours
            inner join {{ ref('stage_migration_control') }} as theirs
                on
                    ours.table_name = theirs.table_name
                    and ours.column_name = theirs.column_name
                    and ours.run_id <> theirs.run_id
            where
                ours.run_id = $1
                and theirs.lease_until >= now()
        )
        and not exists (
            select 1 as found
            from {{ ref('stage_migration_control') }} as ours
            where
                ours.run_id = $1
                and ours.requested_status = 'cancelled'
        )
    for no key update
)

update {{ ref('stage_migration_control') }} as control
set
    lease_token = $2,
    lease_owner = $3,
    lease_until = now() + make_interval(secs => $4),
    status = 'running',
    requested_status = null,
    updated_at = now()
from open_run
where
    control.run_id = open_run.run_id
    and control.requested_status is distinct from 'cancelled'
    and (
        control.lease_until is null
        or control.lease_until < now()
        or control.lease_token = $2
    )
returning control.table_name, control.column_name;

-- name: run__renew_lease(run_id, lease_token, lease_seconds)
-- No row: the lease is lost, another runner works on the run. It does not wait for open batches, so
-- a long one does not cost the lease.
update {{ ref('stage_migration_control') }} as control
set
    lease_until = now() + make_interval(secs => $3),
    updated_at = now()
where
    control.run_id = $1
    and control.lease_token = $2
returning control.table_name;

-- name: run__await_batches(run_id, lease_token)
-- After a lost connection: waits for the transactions whose answer was lost.
select batches.batch_id
from {{ ref('stage_migration_batches') }} as batches
where
    batches.run_id = $1
    and batches.lease_token = $2
    and batches.status = 'running'
order by batches.batch_id
for no key update;

-- name: run__claim_ranges(run_id, lease_token, lease_seconds, held_batches, ranges)
-- The next key ranges with their open batches, for a worker of the runner that holds the run.
-- Running batches that its other workers do not hold belong to a dead runner, or were given to this
-- runner in an answer that was lost. A dead runner's token is replaced, so it can change nothing if
-- it comes back; its open transactions are waited for.
with open_batches as (
    select
        batches.batch_id,
        batches.table_name,
        batches.column_name,
        batches.range_no
    from {{ ref('stage_migration_batches') }} as batches
    where
        batches.run_id = $1
        and batches.status in ('pending', 'running')
        and batches.batch_id <> all(cast($4 as bigint[]))
        and {{ holds_run(ref('stage_migration_control'), '$1', '$2') | indent(8) }}
    order by batches.batch_id
    limit cast($5 as bigint) * 64 -- as many stripes as a range can have
    -- A dead runner's last transaction may end now: then its batch is done, and the next one is
    -- taken instead. Without a lock there would be none, as if all were done.
    for no key update of batches
),

next_ranges as (
    select
        open_batches.table_name,
        open_batches.column_name,
        open_batches.range_no
    from open_batches
    group by
        open_batches.table_name,
        open_batches.column_name,
        open_batches.range_no
    order by min(open_batches.batch_id)
    limit cast($5 as bigint)
)

update {{ ref('stage_migration_batches') }} as batches
set
    status = 'running',
    lease_token = $2,
    lease_until = now() + make_interval(secs => $3),
    attempts = batches.attempts + 1,
    started_at = coalesce(batches.started_at, now()),
    updated_at = now()
from next_ranges
where
    batches.run_id = $1
    and batches.table_name = next_ranges.table_name
    and batches.column_name = next_ranges.column_name
    and batches.range_no = next_ranges.range_no
    and batches.status in ('pending', 'running')
    and batches.batch_id <> all(cast($4 as bigint[]))
returning
    batches.batch_id,
    batches.table_name,
    batches.column_name,
    batches.fund_id,
    batches.range_start,
    batches.range_end,
    batches.stripe,
    batches.stripes,
    batches.hashed,
    batches.rows_in_batch;

-- name: run__finish_piece(batch_ids, lease_token, is_last, error_message)
-- In the transaction of a piece, or of batches that have nothing to change: stores the duration and
-- whether they are done; returns the operator's requests.
{{ finished_piece() }};

-- name: run__finish_changes(batch_id, lease_token, is_last, error_message)
-- The same for one batch, in the transaction of apply_batch or revert_batch: counts the rows that
-- it changed, from its audit entry.
with own_totals as (
    select coalesce(sum(cardinality(changes.map_ids)), 0) as row_total
    from {{ ref('stage_normalization_changes') }} as changes
    where
        changes.batch_id = $1
        and changes.xmin = cast(pg_current_xact_id_if_assigned() as xid)
)

{{ finished_piece(counts=true) }};

-- name: run__set_pace(run_id, sleep_ms, target_ms, workers)
-- What apply was asked for beyond the plan; NULL leaves a number as it is.
update {{ ref('stage_migration_control') }} as control
set
    sleep_ms = coalesce($2, control.sleep_ms),
    target_ms = coalesce($3, control.target_ms),
    workers = coalesce($4, control.workers)
where control.run_id = $1
returning coalesce(control.requested_status = 'cancelled', false) as is_to_be_cancelled;

-- name: run__note_options(run_id, options)
-- The same for what is an option of the run.
update {{ ref('migration_runs') }} as runs
set options = runs.options || cast($2 as jsonb)
where runs.run_id = $1;

-- name: run__control_state(run_id)
-- While the runner waits: the operator's present request.
select
    max(control.requested_status) as requested_status,
    max(control.workers) as workers
from {{ ref('stage_migration_control') }} as control
where control.run_id = $1;

-- name: run__quarantine_unit(batch_id, lease_token, first_place, sqlstate, error_message, key_1)
-- A unit whose transaction the database refused: written down once, with the reason, although the
-- answer may be lost or the batch run again.
with units as (
    select {{ listed_unit('$3', '$6') }} as unit
),

refused as (
    select
        cast(null as text) as value_before,
        {{ unit_text('units.unit') | indent(8) }} as row_key
    from units
),

{{ recorded_refusal('$4', '$5') }};

-- name: run__note_brake(run_id, lease_token, brake)
-- The brake that the runner waits for, for information only; NULL if it works.
update {{ ref('stage_migration_control') }} as control
set brake = $3
where
    control.run_id = $1
    and control.lease_token = $2;

-- name: run__flush_statistics()
-- Other sessions see this session's counters when the transaction has ended.
select pg_stat_force_next_flush() as flushed;

-- name: run__note_counters(run_id, lease_token, moment)
-- The server's counters before and after the run: all updates of the table, those that were HOT,
-- and the position of the log. A resumed run keeps the counters of its first start.
with tables as (
    select
        control.table_name,
        control.column_name,
        to_regclass(
            {{ literal(quoted(var('app_schema', 'public')) ~ '.') }}
            || quote_ident(control.table_name)
        ) as relation
    from {{ ref('stage_migration_control') }} as control
    where control.run_id = $1
),

-- for a partitioned table, those of its partitions
counters as (
    select
        tables.table_name,
        tables.column_name,
        sum(pg_stat_get_tuples_updated(coalesce(tree.relid, tables.relation))) as updates,
        sum(
            pg_stat_get_tuples_hot_updated(coalesce(tree.relid, tables.relation))
        ) as hot_updates
    from tables
    left join lateral pg_partition_tree(tables.relation) as tree on tree.isleaf
    group by
        tables.table_name,
        tables.column_name
)

update {{ ref('stage_migration_control') }} as control
set
    measured = jsonb_build_object(
        cast($3 as text),
        jsonb_build_object(
            'n_tup_upd', counters.updates,
            'n_tup_hot_upd', counters.hot_updates,
            'wal_bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
        )
    )
    || case
        when cast($3 as text) = 'before'
            then coalesce(control.measured, '{}')
        else coalesce(control.measured, '{}') - 'after'
    end
from counters
where
    control.run_id = $1
    and control.lease_token = $2
    and control.table_name = counters.table_name
    and control.column_name = counters.column_name;

-- name: run__batch_state(batch_id, lease_token)
-- After a lost connection: was the batch finished, and is it still ours?
select
    batches.status,
    batches.lease_token = $2 as is_ours
from {{ ref('stage_migration_batches') }} as batches
where batches.batch_id = $1;

-- name: run__reopen_failed(run_id, lease_token)
-- Failed batches are tried again.
update {{ ref('stage_migration_batches') }} as batches
set
    status = 'pending',
    lease_token = null,
    lease_until = null,
    completed_at = null,
    error_message = null,
    updated_at = now()
where
    batches.run_id = $1
    and batches.status = 'failed'
    and {{ holds_run(ref('stage_migration_control'), '$1', '$2') | indent(4) }}
returning batches.batch_id;

-- name: run__release(run_id, lease_token, status)
-- The runner stops: batches that it held and had not started are open again. No token: any runner.
with released as (
    update {{ ref('stage_migration_batches') }} as batches
    set
        status = 'pending',
        lease_token = null,
        lease_until = null,
        updated_at = now()
    where
        batches.run_id = $1
        and (
            cast($2 as uuid) is null
            or batches.lease_token = $2
        )
        and batches.status = 'running'
    returning batches.batch_id
)

update {{ ref('stage_migration_control') }} as control
set
    status = $3,
    lease_token = null,
    lease_owner = null,
    lease_until = null,
    requested_status = null,
    brake = null,
    updated_at = now()
where
    control.run_id = $1
    and (
        cast($2 as uuid) is null
        or control.lease_token = $2
    )
returning
    control.table_name,
    (select count(*) as released_batches from released) as released_batches;

-- name: run__note_progress(run_id, lease_token, table_name, column_name, last_id)
-- The progress through a table, for information only.
update {{ ref('stage_migration_control') }} as control
set
    last_id = $5,
    updated_at = now()
where
    control.run_id = $1
    and control.lease_token = $2
    and control.table_name = $3
    and control.column_name = $4;

-- name: run__set_status(run_id, lease_token, status, finished, statuses, notes)
-- Only for the runner that holds the run; without a token, only if no runner does. And only from
-- one of these statuses: no row if the run has ended.
update {{ ref('migration_runs') }} as runs
set
    status = $3,
    started_at = coalesce(runs.started_at, now()),
    finished_at = case when cast($4 as boolean) then now() end,
    notes = coalesce($6, runs.notes)
where
    runs.run_id = $1
    and runs.status = any(cast($5 as text[]))
    and exists (
        select 1 as found
        from {{ ref('stage_migration_control') }} as control
        where
            control.run_id = $1
            and (
                control.lease_token = $2
                or (
                    cast($2 as uuid) is null
                    and coalesce(control.lease_until < now(), true)
                )
            )
    )
returning runs.run_id;

-- name: run__note_audit_digest(run_id)
-- In the transaction that ends a run, after set_run_status and close_batches: digests of the audit
-- of every batch and of the run, for verify to compare and for people to keep outside of the
-- database. Only a runner that could end the run calls this.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

{{ audit_digests('$1') }},

{{ noted_digests() }};

-- name: run__note_image_digest(run_id)
-- The same for a run that has written row images: of these, of every batch and of the run.
with entry_digests as {{ computed_once() }} (
    select
        images.batch_id,
        {{ text_digest(list_text([
            'images.unit',
            'images.schema_name',
            'images.table_name',
            'images.row_key',
            'images.action',
            'images.before_image',
            'images.after_hash',
        ]) | indent(4)) | indent(8) }} as entry_digest
    from {{ ref('migration_audit') }} as images
    where images.run_id = $1
),

entry_lists as (
    select
        batches.batch_id,
        string_agg(
            entry_digests.entry_digest, '' order by entry_digests.entry_digest collate "C"
        ) as entry_list
    from {{ ref('stage_migration_batches') }} as batches
    left join entry_digests
        on batches.batch_id = entry_digests.batch_id
    where batches.run_id = $1
    group by batches.batch_id
),

batch_digests as {{ computed_once() }} (
    select
        entry_lists.batch_id,
        {{ text_digest("coalesce(entry_lists.entry_list, '')") | indent(8) }} as audit_digest
    from entry_lists
),

batch_lists as (
    select string_agg(batch_digests.audit_digest, '' order by batch_digests.batch_id) as batch_list
    from batch_digests
),

run_digests as (
    select
        {{ text_digest("coalesce(batch_lists.batch_list, '')") | indent(8) }} as audit_digest
    from batch_lists
),

{{ noted_digests() }};

-- name: run__close_batches(run_id)
-- Closes the open batches of a cancelled run.
update {{ ref('stage_migration_batches') }} as batches
set
    status = 'cancelled',
    lease_token = null,
    lease_until = null,
    updated_at = now()
where
    batches.run_id = $1
    and batches.status in ('pending', 'running', 'failed');

-- name: run__superseded(run_id, table_names, column_names, tenants)
-- Runs whose place a new plan takes: they want the same rows and have changed nothing.
with {{ rival_runs('$2', '$3', '$4') }}

select
    cast(rival_runs.run_id as text) as run_id,
    'superseded by run ' || left(cast($1 as text), 8) as notes
from rival_runs
where
    rival_runs.is_replaceable
    and rival_runs.run_id <> $1;

-- name: run__batch_totals(run_id)
select
    count(*) as total_batches,
    count(*) filter (where batches.status = 'completed') as completed_batches,
    count(*) filter (where batches.status = 'failed') as failed_batches,
    count(*) filter (where batches.status = 'cancelled') as cancelled_batches,
    coalesce(sum(batches.rows_in_batch), 0) as row_total,
    coalesce(
        sum(batches.rows_in_batch) filter (where batches.status = 'completed'), 0
    ) as rows_done,
    coalesce(sum(batches.rows_planned), 0) as rows_planned,
    coalesce(sum(batches.rows_updated), 0) as rows_updated,
    coalesce(sum(batches.rows_skipped), 0) as rows_skipped,
    coalesce(sum(batches.rows_failed), 0) as rows_failed,
    (
        select count(*) as conflict_total
        from {{ ref('migration_conflicts') }} as conflicts
        where conflicts.run_id = $1
    ) as conflicts
from {{ ref('stage_migration_batches') }} as batches
where batches.run_id = $1;
