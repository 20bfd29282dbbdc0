-- How far is the run, and how long will it still take? One row: the first run in the order of
-- migration_run_states, of the kinds of runs that `trueup status` shows. Reads batches only, so it
-- is quick while a run is under way.
with runs as (
    select * from {{ ref('migration_runs') }}
),

states as (
    select * from {{ ref('migration_run_states') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

shown_run as (
    select
        runs.run_id,
        runs.kind,
        runs.status,
        states.state_text,
        states.taken_back_by,
        states.rows_taken_back,
        runs.status in (
            'planned', 'running', 'paused', 'interrupted', 'failed'
        ) as is_unfinished
    from runs
    inner join states on runs.run_id = states.run_id
    where {{ picked_by('runs', 'status') }}
    order by
        states.place asc nulls last,
        runs.planned_at desc
    limit 1
),

shown_batches as (
    select
        batches.batch_id,
        batches.status,
        batches.rows_in_batch,
        batches.rows_planned,
        batches.rows_updated,
        batches.rows_skipped,
        batches.rows_failed,
        batches.completed_at,
        batches.lease_token,
        coalesce(
            batches.duration_ms / 1000,
            extract(epoch from batches.completed_at - batches.started_at)
        ) as own_seconds
    from batches
    inner join shown_run on batches.run_id = shown_run.run_id
),

totals as (
    select
        count(*) as total_batches,
        count(*) filter (where shown_batches.status = 'pending') as pending_batches,
        count(*) filter (where shown_batches.status = 'running') as running_batches,
        count(*) filter (where shown_batches.status = 'completed') as completed_batches,
        count(*) filter (where shown_batches.status = 'failed') as failed_batches,
        count(*) filter (where shown_batches.status = 'cancelled') as cancelled_batches,
        coalesce(sum(shown_batches.rows_planned), 0) as rows_planned,
        coalesce(sum(shown_batches.rows_updated), 0) as rows_updated,
        coalesce(sum(shown_batches.rows_skipped), 0) as rows_skipped,
        coalesce(sum(shown_batches.rows_failed), 0) as rows_failed,
        coalesce(sum(shown_batches.rows_in_batch), 0) as all_rows,
        coalesce(
            sum(shown_batches.rows_in_batch)
            filter (where shown_batches.status = 'completed'),
            0
        ) as done_rows,
        coalesce(
            sum(shown_batches.rows_in_batch)
            filter (where shown_batches.status in ('pending', 'running')),
            0
        ) as remaining_rows
    from shown_batches
),

recent_batches as (
    select
        shown_batches.batch_id,
        shown_batches.rows_in_batch,
        shown_batches.completed_at,
        shown_batches.lease_token,
        shown_batches.own_seconds
    from shown_batches
    where
        shown_batches.status = 'completed'
        and shown_batches.completed_at is not null
    order by
        shown_batches.completed_at desc,
        shown_batches.batch_id desc
    limit 50
),

recent_gaps as (
    select
        recent_batches.rows_in_batch,
        recent_batches.own_seconds,
        extract(
            epoch from recent_batches.completed_at
            - lag(recent_batches.completed_at) over (
                order by recent_batches.completed_at asc, recent_batches.batch_id asc
            )
        ) as gap_seconds,
        recent_batches.lease_token <> lag(recent_batches.lease_token) over (
            order by recent_batches.completed_at asc, recent_batches.batch_id asc
        ) as is_resumed,
        ntile(5) over (
            order by recent_batches.completed_at asc, recent_batches.batch_id asc
        ) as fifth
    from recent_batches
),

-- From completion to completion, so that pauses between batches count and workers share the time. A
-- batch counts with its own duration if no completion came before it, if another runner had
-- completed the one before it, so the run was stopped in between, or after more than a minute.
recent_times as (
    select
        recent_gaps.fifth,
        recent_gaps.rows_in_batch,
        case
            when recent_gaps.is_resumed then recent_gaps.own_seconds
            when recent_gaps.gap_seconds <= recent_gaps.own_seconds + 60
                then recent_gaps.gap_seconds
            else recent_gaps.own_seconds
        end as seconds
    from recent_gaps
),

fifths as (
    select
        recent_times.fifth,
        sum(recent_times.seconds) as seconds,
        sum(recent_times.rows_in_batch) as batch_rows
    from recent_times
    group by recent_times.fifth
),

mean_rate as (
    select sum(fifths.seconds) / nullif(sum(fifths.batch_rows), 0) as seconds_per_row
    from fifths
),

-- the pace of the quickest fifth of the recent batches and of the slowest; NULL if nothing is known
-- yet
rates as (
    select
        mean_rate.seconds_per_row,
        least(
            min(fifths.seconds / nullif(fifths.batch_rows, 0)),
            mean_rate.seconds_per_row
        ) as least_seconds_per_row,
        greatest(
            max(fifths.seconds / nullif(fifths.batch_rows, 0)),
            mean_rate.seconds_per_row
        ) as most_seconds_per_row
    from mean_rate
    left join fifths on true
    group by mean_rate.seconds_per_row
),

progress as (
    select
        shown_run.run_id,
        shown_run.kind,
        shown_run.status,
        shown_run.state_text,
        shown_run.taken_back_by,
        shown_run.rows_taken_back,
        totals.total_batches,
        totals.pending_batches,
        totals.running_batches,
        totals.completed_batches,
        totals.failed_batches,
        totals.cancelled_batches,
        totals.rows_planned,
        totals.rows_updated,
        totals.rows_skipped,
        totals.rows_failed,
        totals.all_rows,
        totals.done_rows,
        rates.seconds_per_row,
        rates.least_seconds_per_row,
        rates.most_seconds_per_row,
        -- a finished run does not continue its pending batches
        case when shown_run.is_unfinished then totals.remaining_rows else 0 end as remaining_rows
    from shown_run
    cross join totals
    cross join rates
),

final as (
    select
        progress.run_id,
        progress.kind,
        progress.status,
        progress.state_text,
        progress.taken_back_by,
        progress.rows_taken_back,
        progress.total_batches,
        progress.pending_batches,
        progress.running_batches,
        progress.completed_batches,
        progress.failed_batches,
        progress.cancelled_batches,
        cast(progress.rows_planned as bigint) as rows_planned,
        cast(progress.rows_updated as bigint) as rows_updated,
        cast(progress.rows_skipped as bigint) as rows_skipped,
        cast(progress.rows_failed as bigint) as rows_failed,
        -- rounded down: 100 means all
        cast(
            case
                when progress.all_rows = 0 then 100
                else floor(10000 * progress.done_rows / progress.all_rows) / 100
            end as numeric(5, 2)
        ) as completion_percent,
        cast(
            case
                when progress.remaining_rows = 0 then 0
                else progress.remaining_rows * progress.seconds_per_row / 60
            end as numeric(12, 2)
        ) as estimated_minutes_remaining,
        cast(
            case
                when progress.remaining_rows = 0 then 0
                else progress.remaining_rows * progress.least_seconds_per_row / 60
            end as numeric(12, 2)
        ) as estimated_minutes_low,
        cast(
            case
                when progress.remaining_rows = 0 then 0
                else progress.remaining_rows * progress.most_seconds_per_row / 60
            end as numeric(12, 2)
        ) as estimated_minutes_high
    from progress
)

select * from final
