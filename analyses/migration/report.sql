-- Named statements of `trueup report`: what the ledger knows of a run, read in one snapshot. They
-- write nothing and read no row of the application.

-- name: report__run(run_id)
-- The columns of a run that every command reads, and more for the report; with server and database.
select
    runs.git_commit,
    runs.audit_digest,
    runs.notes,
    runs.rehearsal,
    cast(runs.reverts_run_id as text) as reverts_run_id,
    cast(current_database() as text) as database_name,
    cast(current_user as text) as role_name,
    states.taken_back_by,
    states.rows_taken_back,
    coalesce(runs.findings, '[]') as findings,
    extract(epoch from coalesce(runs.finished_at, now()) - runs.started_at) as seconds,
    current_setting('server_version') as postgres_version,
    now() as made_at
from {{ ref('migration_runs') }} as runs
inner join {{ ref('migration_run_states') }} as states
    on runs.run_id = states.run_id
where runs.run_id = $1;

-- name: report__columns(run_id)
-- One row per column of the run: the values before the run, the planned rows, the changed rows.
with control as (
    select * from {{ ref('stage_migration_control') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

counted_rows as (
    select
        baselines.table_name,
        baselines.column_name,
        sum(baselines.rows) as row_total,
        sum(baselines.nulls) as null_total,
        sum(baselines.blanks) as blank_total
    from baselines
    where baselines.run_id = $1
    group by
        baselines.table_name,
        baselines.column_name
),

counted_batches as (
    select
        batches.table_name,
        batches.column_name,
        count(*) as batch_total,
        count(*) filter (where batches.status = 'completed') as batches_completed,
        count(*) filter (where batches.status = 'failed') as batches_failed,
        count(*) filter (where batches.status = 'cancelled') as batches_cancelled,
        sum(batches.rows_updated) as rows_updated,
        sum(batches.rows_failed) as rows_failed,
        sum(batches.rows_planned) as rows_planned,
        max(batches.stripes) as stripes
    from batches
    where batches.run_id = $1
    group by
        batches.table_name,
        batches.column_name
),

decided_values as (
    select
        value_map.table_name,
        value_map.column_name,
        count(*) filter (where value_map.map_id is not null) as spellings,
        sum(value_map.rows_planned) filter (
            where value_map.map_id is null and value_map.match_type not in ('null', 'blank')
        ) as rows_left
    from value_map
    where value_map.run_id = $1
    group by
        value_map.table_name,
        value_map.column_name
)

select
    control.table_name,
    control.column_name,
    control.status,
    control.notes,
    control.brake,
    control.target_ms,
    control.sleep_ms,
    control.workers,
    control.measured,
    counted_rows.row_total,
    counted_rows.null_total,
    counted_rows.blank_total,
    counted_batches.stripes,
    coalesce(counted_batches.rows_planned, 0) as rows_planned,
    coalesce(counted_batches.rows_updated, 0) as rows_updated,
    coalesce(counted_batches.rows_failed, 0) as rows_failed,
    coalesce(decided_values.rows_left, 0) as rows_left,
    coalesce(decided_values.spellings, 0) as spellings,
    coalesce(counted_batches.batch_total, 0) as batches,
    coalesce(counted_batches.batches_completed, 0) as batches_completed,
    coalesce(counted_batches.batches_failed, 0) as batches_failed,
    coalesce(counted_batches.batches_cancelled, 0) as batches_cancelled
from control
left join counted_rows
    on
        control.table_name = counted_rows.table_name
        and control.column_name = counted_rows.column_name
left join counted_batches
    on
        control.table_name = counted_batches.table_name
        and control.column_name = counted_batches.column_name
left join decided_values
    on
        control.table_name = decided_values.table_name
        and control.column_name = decided_values.column_name
where control.run_id = $1
order by
    coalesce(counted_batches.rows_planned, 0) desc,
    control.table_name asc,
    control.column_name asc;
{%- set judged_values %}
runs as (
    select * from {{ ref('migration_runs') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

changed_values as (
    select
        batches.table_name,
        batches.column_name,
        changed.map_id,
        count(*) as rows_changed
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join lateral unnest(changes.map_ids) as changed (map_id)
    where changes.run_id = $1
    group by
        batches.table_name,
        batches.column_name,
        changed.map_id
),

-- a rollback restores several spellings from one value
judged_values as (
    select
        value_map.table_name,
        value_map.column_name,
        value_map.value_before,
        value_map.value_after,
        value_map.match_type,
        value_map.rows_planned,
        value_map.map_id is not null as is_planned,
        coalesce(changed_values.rows_changed, 0) as rows_changed,
        case
            when value_map.map_id is null then null
            when cast(runs.record #>> '{rules,restores}' as boolean) then value_map.value_before
            else value_map.value_after
        end as gathered_value,
        case when value_map.map_id is null then value_map.match_type end as left_because
    from runs
    inner join value_map
        on runs.run_id = value_map.run_id
    left join changed_values
        on
            value_map.table_name = changed_values.table_name
            and value_map.column_name = changed_values.column_name
            and value_map.map_id = changed_values.map_id
    where runs.run_id = $1
)
{%- endset %}

-- name: report__targets(run_id)
-- Per column and canonical value, or reason to stay: spellings, rows promised, rows changed.
with {{ judged_values | trim }}

select
    judged_values.table_name,
    judged_values.column_name,
    judged_values.gathered_value,
    judged_values.left_because,
    count(*) as spellings,
    count(*) filter (where judged_values.rows_changed > 0) as spellings_changed,
    sum(judged_values.rows_planned) as rows_planned,
    sum(judged_values.rows_changed) as rows_changed
from judged_values
group by
    judged_values.table_name,
    judged_values.column_name,
    judged_values.gathered_value,
    judged_values.left_because
order by
    judged_values.table_name asc,
    judged_values.column_name asc,
    rows_changed desc,
    rows_planned desc,
    judged_values.gathered_value asc,
    judged_values.left_because asc;

-- name: report__values(run_id, most)
-- The commonest values of each column: at most `most` that change and `most` that stay.
with {{ judged_values | trim }},

ranked_values as (
    select
        judged_values.*,
        row_number() over (
            partition by
                judged_values.table_name,
                judged_values.column_name,
                judged_values.is_planned
            order by
                judged_values.rows_changed desc,
                judged_values.rows_planned desc,
                judged_values.value_before asc,
                judged_values.value_after asc
        ) as place
    from judged_values
)

select
    ranked_values.table_name,
    ranked_values.column_name,
    ranked_values.value_before,
    ranked_values.value_after,
    ranked_values.match_type,
    ranked_values.is_planned,
    ranked_values.rows_planned,
    ranked_values.rows_changed,
    ranked_values.gathered_value,
    ranked_values.left_because
from ranked_values
where ranked_values.place <= cast($2 as bigint)
order by
    ranked_values.table_name asc,
    ranked_values.column_name asc,
    ranked_values.is_planned desc,
    ranked_values.place asc;

-- name: report__tenants(run_id, most)
-- Per column and tenant: rows before the run, planned, changed, and left alone by a rollback; for
-- the tenants with the most rows, and the rows of no tenant. Figures that were not counted are
-- NULL.
with baselines as (
    select * from {{ ref('migration_baselines') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

conflicts as (
    select * from {{ ref('migration_conflicts') }}
),

tenant_counts as (
    select
        baselines.table_name,
        baselines.column_name,
        baselines.tenant,
        baselines.rows as row_total,
        baselines.nulls + baselines.blanks as rows_empty,
        cast(null as bigint) as rows_planned,
        cast(null as bigint) as rows_left,
        0 as rows_changed,
        0 as rows_conflicting
    from baselines
    where baselines.run_id = $1
    union all
    select
        baselines.table_name,
        baselines.column_name,
        baselines.tenant,
        null as row_total,
        null as rows_empty,
        case when value_map.map_id is null then 0 else cast(counts.row_text as bigint) end
            as rows_planned,
        case when value_map.map_id is null then cast(counts.row_text as bigint) else 0 end
            as rows_left,
        0 as rows_changed,
        0 as rows_conflicting
    from baselines
    cross join jsonb_each_text(baselines.row_counts) as counts (raw_value, row_text)
    inner join value_map
        on
            counts.raw_value = value_map.value_before
            and baselines.run_id = value_map.run_id
            and baselines.table_name = value_map.table_name
            and baselines.column_name = value_map.column_name
    where
        baselines.run_id = $1
        and value_map.match_type <> 'blank'
    union all
    select
        batches.table_name,
        batches.column_name,
        changed.tenant,
        null as row_total,
        null as rows_empty,
        null as rows_planned,
        null as rows_left,
        1 as rows_changed,
        0 as rows_conflicting
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join lateral unnest(changes.tenants) as changed (tenant)
    where changes.run_id = $1
    union all
    select
        conflicts.table_name,
        conflicts.column_name,
        conflicts.tenant,
        null as row_total,
        null as rows_empty,
        null as rows_planned,
        null as rows_left,
        0 as rows_changed,
        1 as rows_conflicting
    from conflicts
    where conflicts.run_id = $1
),

counted_tenants as (
    select
        tenant_counts.table_name,
        tenant_counts.column_name,
        tenant_counts.tenant,
        sum(tenant_counts.row_total) as row_total,
        sum(tenant_counts.rows_empty) as rows_empty,
        sum(tenant_counts.rows_planned) as rows_planned,
        sum(tenant_counts.rows_left) as rows_left,
        sum(tenant_counts.rows_changed) as rows_changed,
        sum(tenant_counts.rows_conflicting) as rows_conflicting
    from tenant_counts
    group by
        tenant_counts.table_name,
        tenant_counts.column_name,
        tenant_counts.tenant
),

ranked_tenants as (
    select
        counted_tenants.*,
        count(*) over (
            partition by counted_tenants.table_name, counted_tenants.column_name
        ) as tenants,
        row_number() over (
            partition by counted_tenants.table_name, counted_tenants.column_name
            order by
                counted_tenants.tenant is null desc,
                coalesce(counted_tenants.row_total, 0) desc,
                counted_tenants.rows_changed desc,
                counted_tenants.tenant asc
        ) as place
    from counted_tenants
)

select
    ranked_tenants.table_name,
    ranked_tenants.column_name,
    ranked_tenants.tenant,
    ranked_tenants.tenants,
    ranked_tenants.row_total,
    ranked_tenants.rows_empty,
    ranked_tenants.rows_changed,
    ranked_tenants.rows_conflicting,
    -- for a counted tenant without any value in the plan
    case
        when ranked_tenants.row_total is null then null
        else coalesce(ranked_tenants.rows_planned, 0)
    end as rows_planned,
    case
        when ranked_tenants.row_total is null then null
        else coalesce(ranked_tenants.rows_left, 0)
    end as rows_left
from ranked_tenants
where ranked_tenants.place <= cast($2 as bigint)
order by
    ranked_tenants.table_name,
    ranked_tenants.column_name,
    ranked_tenants.place;
{%- set worked_batches %}
batches as (
    select * from {{ ref('stage_migration_batches') }}
),

ended_batches as (
    select
        batches.batch_id,
        batches.table_name,
        batches.column_name,
        batches.status,
        batches.rows_updated,
        batches.rows_in_batch,
        batches.completed_at,
        batches.lease_token,
        coalesce(batches.duration_ms, 0) as duration_ms,
        batches.completed_at - make_interval(secs => coalesce(batches.duration_ms, 0) / 1000)
            as begun_at
    from batches
    where
        batches.run_id = $1
        and batches.status in ('completed', 'failed')
        and batches.completed_at is not null
),

followed_batches as (
    select
        ended_batches.*,
        min(ended_batches.begun_at) over () as first_at,
        ended_batches.lease_token <> lag(ended_batches.lease_token) over (
            order by
                ended_batches.completed_at,
                ended_batches.batch_id
        ) as is_resumed,
        extract(
            epoch from ended_batches.begun_at - max(ended_batches.completed_at) over (
                order by
                    ended_batches.completed_at,
                    ended_batches.batch_id
                rows between unbounded preceding and 1 preceding
            )
        ) as idle_seconds
    from ended_batches
),

-- Each runner has a token of its own: if it is another one, the run was stopped and resumed.
judged_batches as (
    select
        followed_batches.*,
        case
            when
                followed_batches.idle_seconds > cast($2 as double precision)
                or (followed_batches.is_resumed and followed_batches.idle_seconds > 0)
                then followed_batches.idle_seconds
            else 0
        end as break_seconds
    from followed_batches
),

-- seconds since the first batch began, without the breaks in which the run was stopped
worked_batches as (
    select
        judged_batches.*,
        greatest(
            extract(epoch from judged_batches.completed_at - judged_batches.first_at)
            - sum(judged_batches.break_seconds) over (
                order by
                    judged_batches.completed_at,
                    judged_batches.batch_id
            ),
            0
        ) as worked_seconds
    from judged_batches
)
{%- endset %}

-- name: report__durations(run_id, break_seconds)
-- Durations of completed batches, and the working time of all finished batches.
with {{ worked_batches | trim }}

select
    count(*) as batches,
    percentile_cont(0.5) within group (order by worked_batches.duration_ms) filter (
        where worked_batches.status = 'completed'
    ) as p50_ms,
    percentile_cont(0.95) within group (order by worked_batches.duration_ms) filter (
        where worked_batches.status = 'completed'
    ) as p95_ms,
    max(worked_batches.duration_ms) filter (where worked_batches.status = 'completed') as max_ms,
    max(worked_batches.worked_seconds) as worked_seconds,
    sum(worked_batches.break_seconds) as break_seconds,
    min(worked_batches.first_at) as first_at,
    max(worked_batches.completed_at) as last_at
from worked_batches;

-- name: report__points(run_id, break_seconds, most)
-- Single batches by the time they ended: all of them, or the slowest, the failed ones, those after
-- a break, and a sample at even distances.
with {{ worked_batches | trim }},

ranked_batches as (
    select
        worked_batches.*,
        count(*) over () as batch_total,
        row_number() over (
            order by
                worked_batches.completed_at,
                worked_batches.batch_id
        ) as place,
        row_number() over (
            order by
                worked_batches.status = 'failed' desc,
                worked_batches.break_seconds > 0 desc,
                worked_batches.duration_ms desc,
                worked_batches.batch_id asc
        ) as rank_of_note
    from worked_batches
)

select
    ranked_batches.batch_id,
    ranked_batches.table_name,
    ranked_batches.column_name,
    ranked_batches.status,
    ranked_batches.completed_at,
    ranked_batches.worked_seconds,
    ranked_batches.break_seconds,
    ranked_batches.duration_ms,
    ranked_batches.rows_updated,
    ranked_batches.rows_in_batch
from ranked_batches
where
    ranked_batches.batch_total <= cast($3 as bigint)
    or ranked_batches.rank_of_note <= cast($3 as bigint) / 4
    or ranked_batches.place % (ranked_batches.batch_total * 4 / (cast($3 as bigint) * 3) + 1) = 0
order by ranked_batches.place;

-- name: report__rates(run_id, break_seconds, most)
-- Rows over time, in equal parts of the working time, each with at least four batches.
with {{ worked_batches | trim }},

spans as (
    select
        max(worked_batches.worked_seconds) as worked_seconds,
        greatest(least(count(*) / 4, cast($3 as bigint)), 1) as part_total
    from worked_batches
),

parts as (
    select
        numbers.part_no,
        spans.worked_seconds / spans.part_total as part_seconds
    from spans
    cross join generate_series(1, spans.part_total) as numbers (part_no)
    where spans.worked_seconds > 0
),

placed_batches as (
    select
        worked_batches.rows_updated,
        worked_batches.rows_in_batch,
        least(
            floor(worked_batches.worked_seconds * spans.part_total / spans.worked_seconds) + 1,
            spans.part_total
        ) as part_no
    from worked_batches
    cross join spans
    where spans.worked_seconds > 0
)

select
    (parts.part_no - 1) * parts.part_seconds as from_seconds,
    parts.part_no * parts.part_seconds as to_seconds,
    count(placed_batches.part_no) as batches,
    coalesce(sum(placed_batches.rows_updated), 0) as rows_updated,
    coalesce(sum(placed_batches.rows_in_batch), 0) as rows_read
from parts
left join placed_batches
    on parts.part_no = placed_batches.part_no
group by
    parts.part_no,
    parts.part_seconds
order by parts.part_no;

-- name: report__audit(run_id)
-- The rows in the audit, compared with the counts of the batches.
with changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

images as (
    select * from {{ ref('migration_audit') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

entries as (
    select
        cardinality(changes.row_keys) as rows_audited,
        -- NULL where nobody compared
        cardinality(changes.others_changed) as rows_others_changed
    from changes
    where changes.run_id = $1
    union all
    select
        1 as rows_audited,
        cast(null as integer) as rows_others_changed
    from images
    where images.run_id = $1
),

audited as (
    select
        count(*) as entries,
        coalesce(sum(entries.rows_audited), 0) as rows_audited,
        sum(entries.rows_others_changed) as rows_others_changed
    from entries
),

counted as (
    select coalesce(sum(batches.rows_updated), 0) as rows_counted
    from batches
    where batches.run_id = $1
)

select
    audited.entries,
    audited.rows_audited,
    counted.rows_counted,
    audited.rows_others_changed
from audited
cross join counted;

-- name: report__sample(run_id, most)
-- Changed rows for a person to review: the same rows each time, in an order independent of the run.
with changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

images as (
    select * from {{ ref('migration_audit') }}
),

changed_rows as (
    select
        batches.table_name,
        batches.column_name,
        changed.row_key,
        changed.tenant,
        changed.map_id,
        cast(null as text) as image_before,
        cast(null as text) as action,
        changes.run_at
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join
        lateral unnest(
            changes.row_keys,
            changes.tenants,
            changes.map_ids
        ) as changed (row_key, tenant, map_id)
    where changes.run_id = $1
    union all
    -- of a whole row, what was done to it
    select
        images.table_name,
        '' as column_name,
        images.row_key,
        cast(null as text) as tenant,
        cast(null as smallint) as map_id,
        left(cast(images.before_image as text), 200) as image_before,
        images.action,
        images.created_at as run_at
    from images
    where images.run_id = $1
),

chosen_rows as (
    select changed_rows.*
    from changed_rows
    order by
        md5(
            changed_rows.table_name || '.' || changed_rows.column_name || ' '
            || changed_rows.row_key
        ),
        changed_rows.row_key
    limit cast($2 as bigint)
)

select
    chosen_rows.table_name,
    chosen_rows.column_name,
    chosen_rows.row_key,
    chosen_rows.tenant,
    chosen_rows.run_at,
    coalesce(value_map.value_before, chosen_rows.image_before) as value_before,
    coalesce(value_map.value_after, chosen_rows.action) as value_after
from chosen_rows
left join value_map
    on
        value_map.run_id = $1
        and chosen_rows.table_name = value_map.table_name
        and chosen_rows.column_name = value_map.column_name
        and chosen_rows.map_id = value_map.map_id
order by
    chosen_rows.table_name,
    chosen_rows.column_name,
    chosen_rows.row_key;

-- name: report__quarantine(run_id, most)
-- Rows that the database refused to change, with its reason.
with quarantine as (
    select * from {{ ref('migration_quarantine') }}
)

select
    quarantine.table_name,
    quarantine.column_name,
    quarantine.batch_id,
    quarantine.row_key,
    quarantine.value_before,
    quarantine.sqlstate,
    quarantine.reason,
    quarantine.at,
    count(*) over () as total
from quarantine
where quarantine.run_id = $1
order by
    quarantine.at,
    quarantine.batch_id,
    quarantine.row_key
limit cast($2 as bigint);

-- name: report__failures(run_id, most)
-- Batches that failed, with their range and the reason.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
)

select
    batches.batch_id,
    batches.table_name,
    batches.column_name,
    batches.fund_id,
    batches.range_start,
    batches.range_end,
    batches.stripe,
    batches.stripes,
    batches.attempts,
    batches.rows_planned,
    batches.rows_updated,
    batches.error_message,
    count(*) over () as total
from batches
where
    batches.run_id = $1
    and batches.status = 'failed'
order by batches.batch_id
limit cast($2 as bigint);

-- name: report__predictions(run_id, rows_updated, wal_bytes, seconds)
-- The range that the rehearsal estimated, all columns together, and the actual figures of the run.
-- No row if nothing was rehearsed, or if a column has no estimate.
with runs as (
    select * from {{ ref('migration_runs') }}
),

estimates as (
    select
        sum(cast(rehearsed.prediction ->> 'rows_planned' as numeric)) as planned,
        sum(cast(rehearsed.prediction ->> 'wal_bytes_low' as numeric)) as wal_bytes_low,
        sum(cast(rehearsed.prediction ->> 'wal_bytes_high' as numeric)) as wal_bytes_high,
        sum(cast(rehearsed.prediction ->> 'seconds_low' as numeric)) as seconds_low,
        sum(cast(rehearsed.prediction ->> 'seconds_high' as numeric)) as seconds_high
    from runs
    cross join jsonb_to_recordset(runs.rehearsal -> 'columns') as rehearsed (prediction jsonb)
    where runs.run_id = $1
    having bool_and(jsonb_typeof(rehearsed.prediction) = 'object')
)

select
    compared.what,
    compared.unit,
    compared.low,
    compared.high,
    compared.actual,
    compared.actual between compared.low and compared.high as is_in_range
from estimates
cross join
    lateral (
        values
        (1, 'rows to change', 'rows', estimates.planned, estimates.planned, cast($2 as numeric)),
        (2, 'write-ahead log', 'bytes', estimates.wal_bytes_low, estimates.wal_bytes_high, $3),
        (3, 'duration', 'seconds', estimates.seconds_low, estimates.seconds_high, $4)
    ) as compared (place, what, unit, low, high, actual)
order by compared.place;

-- name: report__conflicts(run_id, most)
-- Rows that a rollback left alone: the value it would have restored, the value the run wrote, the
-- value at the end.
select
    conflicts.table_name,
    conflicts.column_name,
    conflicts.row_key,
    conflicts.tenant,
    conflicts.value_before,
    conflicts.value_written,
    conflicts.value_now,
    conflicts.reason,
    conflicts.at,
    count(*) over () as total
from {{ ref('migration_conflicts') }} as conflicts
where conflicts.run_id = $1
order by
    conflicts.table_name,
    conflicts.column_name,
    conflicts.row_key
limit cast($2 as bigint);

-- name: report__judgement(run_id, columns, conflicts, sample, audit, checks, standbys)
-- One row: the verdict, the counters of the server, and the list to sign off. columns: the rows of
-- report__columns; conflicts, sample: numbers of rows; audit: the row of report__audit; checks:
-- {status, summary_text, failed: names}; standbys: {state, evidence}. All jsonb but the numbers.
with runs as (
    select * from {{ ref('migration_runs') }}
),

states as (
    select * from {{ ref('migration_run_states') }}
),

given as (
    select
        runs.status,
        runs.plan_sha256,
        runs.planned_at,
        runs.operator,
        states.rows_taken_back,
        cast($3 as bigint) as conflicts,
        cast($4 as bigint) as sampled_rows,
        cast(cast($5 as jsonb) ->> 'rows_audited' as bigint) as rows_audited,
        cast(cast($5 as jsonb) ->> 'rows_counted' as bigint) as rows_counted,
        coalesce(runs.record #>> '{words,done}', 'changed') as done,
        coalesce(runs.record #>> '{words,promised}', 'promised') || ' row' as promised_row,
        cast($6 as jsonb) ->> 'status' as checks_status,
        cast($6 as jsonb) ->> 'summary_text' as checks_text,
        cast($6 as jsonb) -> 'failed' as failed_checks,
        cast($7 as jsonb) ->> 'state' as standby_state,
        cast($7 as jsonb) ->> 'evidence' as standby_text,
        array(
            select left(reverting.run_id, 8) as short_id
            from unnest(states.taken_back_by) as reverting (run_id)
        ) as taken_back_by
    from runs
    inner join states on runs.run_id = states.run_id
    where runs.run_id = $1
),

run_columns as (
    select
        entries.place,
        cast(entries.entry ->> 'rows_planned' as bigint) as rows_planned,
        cast(entries.entry ->> 'rows_updated' as bigint) as rows_updated,
        cast(entries.entry ->> 'rows_failed' as bigint) as rows_failed,
        cast(entries.entry ->> 'rows_left' as bigint) as rows_left,
        cast(entries.entry ->> 'batches' as bigint) as batches,
        cast(entries.entry ->> 'batches_completed' as bigint) as batches_completed,
        cast(entries.entry ->> 'batches_failed' as bigint) as batches_failed,
        cast(entries.entry ->> 'batches_cancelled' as bigint) as batches_cancelled,
        entries.entry ->> 'table_name' as table_name,
        entries.entry -> 'measured' as measured
    from jsonb_array_elements(cast($2 as jsonb)) with ordinality as entries (entry, place)
),

totals as (
    select
        coalesce(sum(run_columns.rows_planned), 0) as rows_planned,
        coalesce(sum(run_columns.rows_updated), 0) as rows_updated,
        coalesce(sum(run_columns.rows_failed), 0) as rows_failed,
        coalesce(sum(run_columns.rows_left), 0) as rows_left,
        coalesce(sum(run_columns.batches), 0) as batches,
        coalesce(sum(run_columns.batches_completed), 0) as batches_completed,
        coalesce(sum(run_columns.batches_failed), 0) as batches_failed,
        coalesce(sum(run_columns.batches_cancelled), 0) as batches_cancelled
    from run_columns
),

counter_names (counter_name) as (
    values
    ('n_tup_upd'),
    ('n_tup_hot_upd'),
    ('wal_bytes')
),

counter_texts as (
    select
        run_columns.table_name,
        run_columns.place,
        counter_names.counter_name,
        run_columns.measured #> array['before', counter_names.counter_name] as text_before,
        run_columns.measured #> array['after', counter_names.counter_name] as text_after
    from run_columns
    cross join counter_names
),

counters as (
    select
        counter_texts.table_name,
        counter_texts.place,
        counter_texts.counter_name,
        cast(counter_texts.text_before as numeric) as value_before,
        cast(counter_texts.text_after as numeric) as value_after
    from counter_texts
    where
        jsonb_typeof(counter_texts.text_before) = 'number'
        and jsonb_typeof(counter_texts.text_after) = 'number'
),

-- Columns of one table were counted together. A counter that fell was reset meanwhile, and is not
-- recorded then.
first_counters as (
    select
        counters.table_name,
        min(counters.place) as place
    from counters
    group by counters.table_name
),

grown_counters as (
    select
        counters.table_name,
        counters.place,
        max(counters.value_after - counters.value_before)
        filter (where counters.counter_name = 'n_tup_upd') as updates,
        max(counters.value_after - counters.value_before)
        filter (where counters.counter_name = 'n_tup_hot_upd') as hot_updates
    from counters
    inner join first_counters
        on
            counters.table_name = first_counters.table_name
            and counters.place = first_counters.place
    group by
        counters.table_name,
        counters.place
),

table_work as (
    select
        jsonb_agg(
            jsonb_build_object(
                'table_name', grown_counters.table_name,
                'updates', grown_counters.updates,
                'hot_updates', grown_counters.hot_updates
            )
            order by grown_counters.place
        ) as tables
    from grown_counters
    where
        grown_counters.updates > 0
        and grown_counters.hot_updates >= 0
),

-- the log is one for the whole server
log_work as (
    select max(counters.value_after) - min(counters.value_before) as wal_bytes
    from counters
    where counters.counter_name = 'wal_bytes'
),

texts as (
    select
        {{ counted('totals.rows_planned', none, 'given.promised_row') | indent(8) }} as promised,
        {{ counted('totals.rows_planned', 'row') | indent(8) }} as planned,
        {{ counted('totals.rows_updated', 'row') | indent(8) }} as updated,
        {{ counted('totals.rows_failed', 'row') | indent(8) }} as refused,
        {{ counted('totals.batches_failed', 'batch') | indent(8) }} as failed_batches,
        {{ counted('totals.batches - totals.batches_completed', 'batch') | indent(8) }}
        || ' not done' as batches_left,
        {{ counted('totals.batches', 'batch') | indent(8) }} as all_batches,
        {{ counted('given.conflicts', 'row') | indent(8) }} as left_alone,
        {{ counted('given.rows_taken_back', 'row') | indent(8) }}
        || ' taken back by ' || array_to_string(given.taken_back_by, ', ') as taken_back,
        {{ counted('given.sampled_rows', 'changed row') | indent(8) }} as sampled,
        {{ counted('given.rows_audited', 'audited row') | indent(8) }} as audited,
        {{ grouped_digits('totals.rows_updated') }} as updated_number,
        {{ grouped_digits('totals.rows_planned') }} as planned_number,
        {{ grouped_digits('totals.batches_completed') }} as completed_number,
        {{ grouped_digits('totals.batches_failed') }} as failed_number,
        {{ grouped_digits('given.rows_counted') }} as counted_number,
        case when totals.rows_updated = 1 then ' was ' else ' were ' end || given.done as done
    from given
    cross join totals
),

failed_names as (
    select string_agg(failed.check_name, ', ' order by failed.place) as listed
    from given
    cross join
        lateral jsonb_array_elements_text(given.failed_checks) with ordinality
            as failed (check_name, place)
),

sentences as (
    select
        case
            when given.status = 'completed' and totals.rows_planned + totals.rows_updated = 0
                then 'Nothing was to be ' || given.done
            when given.status = 'completed' and totals.rows_updated = totals.rows_planned
                then texts.updated || texts.done || ', as many as the plan promised'
            when given.status = 'completed' and totals.rows_updated > totals.rows_planned
                then
                    texts.updated || texts.done || '; the plan promised ' || texts.planned_number
                    || ', and rows were written since'
            when given.status = 'completed'
                then
                    texts.updated_number || ' of ' || texts.promised || texts.done
                    || '; the other rows had already changed since the plan was made'
            when given.status = 'completed_with_failures'
                then texts.updated_number || ' of ' || texts.promised || texts.done || '; '
            else
                'The run is ' || given.status || ': ' || texts.updated_number || ' of '
                || texts.promised || texts.done || ', ' || texts.batches_left
        end as outcome,
        case
            when given.status <> 'completed_with_failures'
                then ''
            when totals.rows_failed + totals.batches_failed = 0
                then 'some were missed'
            else
                concat_ws(
                    ', ',
                    case
                        when totals.rows_failed > 0
                            then texts.refused || ' refused by the database'
                    end,
                    case
                        when totals.batches_failed > 0 then texts.failed_batches || ' failed'
                    end
                )
        end as reasons,
        case
            when given.status = 'completed' and given.conflicts > 0
                then '; ' || texts.left_alone || ' edited or deleted since left alone'
            else ''
        end as conflicts,
        case
            when given.rows_taken_back > 0 then '; ' || texts.taken_back
            else ''
        end as taken_back,
        case
            when given.checks_status = 'failed'
                then '; verification failed: ' || failed_names.listed
            else ''
        end as failures,
        case
            when given.status = 'completed_with_failures' or given.checks_status = 'failed'
                then 'failed'
            when given.rows_taken_back > 0
                then 'taken_back'
            when given.status = 'completed' and given.checks_status = 'passed'
                then 'passed'
            else 'open'
        end as verdict,
        given.status in ('running', 'completed')
        and (
            given.status = 'running'
            or totals.rows_updated
            >= {{ var('verification').changed_share }} * totals.rows_planned
        ) as is_calm
    from given
    cross join totals
    cross join texts
    cross join failed_names
),

-- what the ledger knows is filled in, the rest is for a person
signed_lines as (
    select signed.*
    from given
    cross join totals
    cross join texts
    cross join
        lateral (
            values
            (
                1, 'plan_reviewed', 'Plan reviewed', 'open',
                texts.planned || ' promised by plan ' || left(given.plan_sha256, 12) || ', made '
                || to_char(given.planned_at, 'YYYY-MM-DD HH24:MI TZ') || ' by ' || given.operator
            ),
            (
                2, 'no_failed_batch', 'No failed batch',
                case
                    when totals.batches = totals.batches_completed and totals.rows_failed = 0
                        then 'met'
                    else 'not met'
                end,
                texts.completed_number || ' of ' || texts.all_batches || ' completed, '
                || texts.failed_number || ' failed'
                || case
                    when totals.rows_failed > 0 then '; ' || texts.refused || ' in quarantine'
                    else ''
                end
            ),
            (
                3, 'verification_passed', 'Verification passed',
                case given.checks_status
                    when 'passed' then 'met'
                    when 'failed' then 'not met'
                    else 'open'
                end,
                given.checks_text
            ),
            (
                4, 'sample_read', 'Sample read', 'open',
                case
                    when given.sampled_rows > 0 then texts.sampled || ' to read above'
                    else 'no changed row'
                end
            ),
            (
                5, 'application_spot_checked', 'Application spot-checked', 'open',
                'a few of these rows, looked at in the application itself'
            ),
            (
                6, 'replica_lag_normal', 'Replica lag back to normal',
                given.standby_state, given.standby_text
            ),
            (
                7, 'report_archived', 'Report archived', 'open',
                'this file, where it will be found'
            ),
            (
                8, 'tracking_kept', 'Tracking and audit kept',
                case when given.rows_audited = given.rows_counted then 'met' else 'not met' end,
                texts.all_batches || ', ' || texts.audited || ' in the ledger'
                || case
                    when given.rows_audited = given.rows_counted then ''
                    else ', but batches counted ' || texts.counted_number
                end
            )
        ) as signed (place, line_id, line_title, line_state, line_evidence)
),

sign_off as (
    select
        jsonb_agg(
            jsonb_build_object(
                'id', signed_lines.line_id,
                'title', signed_lines.line_title,
                'state', signed_lines.line_state,
                'evidence', signed_lines.line_evidence
            )
            order by signed_lines.place
        ) as entries
    from signed_lines
),

final as (
    select
        sign_off.entries as sign_off,
        jsonb_build_object(
            'state', sentences.verdict,
            'badge',
            case sentences.verdict
                when 'passed' then '✓ completed and verified'
                when 'failed' then '✗ not as promised'
                when 'taken_back' then '↩ taken back'
                else 'not decided yet'
            end,
            'tone',
            case
                when sentences.verdict = 'failed' then 'failed'
                when sentences.verdict = 'taken_back' or not sentences.is_calm then 'warned'
                else sentences.verdict
            end,
            'sentence',
            sentences.outcome || sentences.reasons || sentences.conflicts || sentences.taken_back
            || sentences.failures
        ) as verdict,
        jsonb_build_object(
            'tables', coalesce(table_work.tables, '[]'),
            'wal_bytes', case when log_work.wal_bytes >= 0 then log_work.wal_bytes end
        ) as server_work,
        to_jsonb(totals) as totals
    from sentences
    cross join totals
    cross join table_work
    cross join log_work
    cross join sign_off
)

select * from final;
