{#-
    Sessions, prepared transactions and replication slots that keep old row versions from being
    pruned, as the CTEs `holders`, `snapshots` and `old_snapshots`; no comma at the end. Without
    pg_read_all_stats the age of other roles' transactions is NULL, which means unknown, not young:
    these count as old.

    old_snapshots: kind (session, prepared transaction, replication slot), name, pid, is_remote (of
    a standby, which has no start time here), is_active, age_seconds, words, number (the
    oldest is 1)
    old_snapshots() → holders as (...), snapshots as (...), old_snapshots as (...)
-#}
{%- macro old_snapshots() -%}
holders as (
    select
        'session' as kind,
        coalesce(nullif(sessions.application_name, ''), 'process ' || sessions.pid) as name,
        sessions.pid,
        sessions.state,
        extract(epoch from clock_timestamp() - sessions.xact_start) as age_seconds,
        greatest(age(sessions.backend_xmin), age(sessions.backend_xid)) as age_transactions,
        true as is_active,
        senders.pid is not null as is_remote
    from pg_catalog.pg_stat_activity as sessions
    left join pg_catalog.pg_stat_progress_vacuum as vacuums on sessions.pid = vacuums.pid
    left join pg_catalog.pg_stat_replication as senders on sessions.pid = senders.pid
    left join pg_catalog.pg_database on sessions.datid = pg_database.oid
    where
        sessions.pid <> pg_backend_pid()
        -- In other databases only replication counts; a running vacuum holds back nothing.
        and (sessions.datid is null or pg_database.datname = current_database())
        and vacuums.pid is null
        -- Autovacuum has no user; if its age cannot be seen, it is taken for short.
        and (sessions.usesysid is not null or sessions.xact_start is not null)
        and coalesce(sessions.backend_xmin, sessions.backend_xid) is not null
    union all
    select
        'prepared transaction' as kind,
        prepared.gid as name,
        null as pid,
        'prepared' as state,
        extract(epoch from clock_timestamp() - prepared.prepared) as age_seconds,
        age(prepared.transaction) as age_transactions,
        true as is_active,
        false as is_remote
    from pg_catalog.pg_prepared_xacts as prepared
    where prepared.database = current_database()
    union all
    select
        'replication slot' as kind,
        slots.slot_name as name,
        slots.active_pid as pid,
        case when slots.active then 'active' else 'inactive' end as state,
        null as age_seconds,
        age(slots.xmin) as age_transactions,
        slots.active as is_active,
        true as is_remote
    from pg_catalog.pg_replication_slots as slots
    where slots.xmin is not null
),

snapshots as (
    select
        holders.*,
        -- A transaction that is open for longer holds back pruning during a run.
        case
            when holders.is_remote
                then not holders.is_active or holders.age_transactions > 10000
            else holders.age_seconds is null or holders.age_seconds > 60
        end as is_old,
        case
            when holders.age_seconds is not null
                then
                    'open for '
                    || {{ trueup.duration_text('holders.age_seconds') | indent(20) }}
            when holders.is_remote
                then to_char(holders.age_transactions, 'FM999,999,999,990') || ' transactions old'
            else 'of an age that this role cannot see'
        end as age
    from holders
),

old_snapshots as (
    select
        snapshots.*,
        format(
            '%s %s (%s)',
            snapshots.kind,
            snapshots.name,
            concat_ws(
                ', ',
                case
                    when position(cast(snapshots.pid as text) in snapshots.name) = 0
                        then 'process ' || snapshots.pid
                end,
                snapshots.state,
                snapshots.age
            )
        ) as words,
        row_number() over (
            order by
                snapshots.age_transactions desc,
                snapshots.age_seconds desc nulls last
        ) as number
    from snapshots
    where snapshots.is_old
)
{%- endmacro -%}
