-- The mode of every scope: its newest change that was not refused. For people and reports; the
-- guard reads the table itself, because every build recreates this view.
with mode_events as (
    select * from {{ ref('validation_mode_events') }}
),

numbered_events as (
    select
        mode_events.*,
        row_number() over (
            partition by mode_events.scope
            order by mode_events.version desc
        ) as recency
    from mode_events
    where mode_events.refused is null
),

final as (
    select
        numbered_events.scope,
        numbered_events.version,
        numbered_events.new_mode as mode,
        numbered_events.percent,
        numbered_events.shadow,
        numbered_events.write_only,
        numbered_events.actor,
        numbered_events.reason,
        numbered_events.at
    from numbered_events
    where numbered_events.recency = 1
)

select * from final
