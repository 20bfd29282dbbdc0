-- Named statements of the brakes: the health of the server during a migration. They read catalogs
-- and statistics, on PostgreSQL 15 to 18, and call nothing that raises for a role with few rights.
-- One row each:
--   value   in the unit that the statement's name ends in; NULL if there is none
--   state   seen; none (there is nothing to look at); blind (this role cannot see all of it, the
--           value is of what it does see)
--   detail  what was found, for people
-- A session is the run's own where this role opened it and its name begins with `trueup apply`.

-- name: brakes__replica_bytes()
-- Log that the slowest standby has not replayed. An archive of the log replays nothing; the slot it
-- reads from is watched. If this role may not see a standby, all is NULL except its existence.
with standbys as (
    select
        senders.state is null as is_hidden,
        coalesce(nullif(senders.application_name, ''), 'process ' || senders.pid) as holder,
        case
            when senders.replay_lsn is not null and not pg_is_in_recovery()
                then greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), senders.replay_lsn), 0)
        end as lag_bytes
    from pg_catalog.pg_stat_replication as senders
    where senders.state is null or senders.replay_lsn is not null
),

slowest as (
    select
        count(*) filter (where standbys.is_hidden) as hidden,
        max(standbys.lag_bytes) as lag_bytes,
        (array_agg(standbys.holder order by standbys.lag_bytes desc nulls last))[1] as holder
    from standbys
)

select
    cast(slowest.lag_bytes as double precision) as value,
    case
        when slowest.hidden > 0 then 'blind'
        when slowest.lag_bytes is null then 'none'
        else 'seen'
    end as state,
    case
        when slowest.hidden > 0
            then 'role ' || quote_ident(current_user) || ' cannot see how far standbys are behind'
        when slowest.lag_bytes is null then 'no standby is connected'
        else
            'standby ' || slowest.holder || ' is ' || pg_size_pretty(slowest.lag_bytes) || ' behind'
    end as detail
from slowest;

-- name: brakes__replica_seconds()
-- The same in time, as the standbys' answers measure it; 0 where all is replayed. A lag that is not
-- measured yet, just after a standby has connected, counts as 0: brake_replica_bytes covers it.
with standbys as (
    select
        senders.state is null as is_hidden,
        coalesce(nullif(senders.application_name, ''), 'process ' || senders.pid) as holder,
        case
            when senders.state is null or pg_is_in_recovery() then null
            when senders.replay_lsn >= pg_current_wal_lsn() then 0
            else coalesce(extract(epoch from senders.replay_lag), 0)
        end as lag_seconds
    from pg_catalog.pg_stat_replication as senders
    where senders.state is null or senders.replay_lsn is not null
),

slowest as (
    select
        count(*) filter (where standbys.is_hidden) as hidden,
        max(standbys.lag_seconds) as lag_seconds,
        (array_agg(standbys.holder order by standbys.lag_seconds desc nulls last))[1] as holder
    from standbys
)

select
    cast(slowest.lag_seconds as double precision) as value,
    case
        when slowest.hidden > 0 then 'blind'
        when slowest.lag_seconds is null then 'none'
        else 'seen'
    end as state,
    case
        when slowest.hidden > 0
            then 'role ' || quote_ident(current_user) || ' cannot see how late standbys are'
        when slowest.lag_seconds is null then 'no standby is connected'
        else 'standby ' || slowest.holder || ' is ' || round(slowest.lag_seconds, 1) || ' s behind'
    end as detail
from slowest;

-- name: brakes__slot_bytes()
-- Log that a slot keeps from being removed, with or without a reader.
with slots as (
    select
        replication_slots.slot_name,
        replication_slots.active,
        case
            when replication_slots.restart_lsn is not null and not pg_is_in_recovery()
                then
                    greatest(
                        pg_wal_lsn_diff(pg_current_wal_lsn(), replication_slots.restart_lsn), 0
                    )
        end as kept_bytes
    from pg_catalog.pg_replication_slots as replication_slots
    -- one that has lost its log keeps none
    where replication_slots.wal_status is distinct from 'lost'
),

fullest as (
    select
        max(slots.kept_bytes) as kept_bytes,
        (
            array_agg(
                slots.slot_name || case when slots.active then '' else ' (inactive)' end
                order by slots.kept_bytes desc nulls last
            )
        )[1] as holder
    from slots
)

select
    cast(fullest.kept_bytes as double precision) as value,
    case when fullest.kept_bytes is null then 'none' else 'seen' end as state,
    case
        when fullest.kept_bytes is null then 'no slot keeps log'
        else
            'slot ' || fullest.holder || ' keeps ' || pg_size_pretty(fullest.kept_bytes)
            || ' of log'
    end as detail
from fullest;

-- name: brakes__archiver_files(wal_bytes_before)
-- Files of the log that wait to be archived. The archiver takes the oldest first, so the file that
-- failed last is the first in the queue, and the one that succeeded last the one before it. If
-- neither is known, the queue begins at wal_bytes_before: the position of the log when the run
-- began to sample.
with archiver as (
    select
        pg_size_bytes(current_setting('wal_segment_size')) as file_bytes,
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal_bytes,
        case
            when pg_stat_archiver.last_archived_wal ~ '^[0-9A-F]{24}'
                then pg_stat_archiver.last_archived_wal
        end as archived_file,
        case
            when
                pg_stat_archiver.last_failed_wal ~ '^[0-9A-F]{24}'
                and (
                    pg_stat_archiver.last_archived_time is null
                    or pg_stat_archiver.last_failed_time > pg_stat_archiver.last_archived_time
                )
                then pg_stat_archiver.last_failed_wal
        end as failed_file
    from pg_catalog.pg_stat_archiver
    where
        current_setting('archive_mode') <> 'off'
        and not pg_is_in_recovery()
),

-- A file is named after its timeline, its 4 GB of log and its place there, eight digits each.
numbered as (
    select
        archiver.failed_file is not null as is_failing,
        div(archiver.wal_bytes, archiver.file_bytes) as current_number,
        div(cast($1 as numeric), archiver.file_bytes) as number_before,
        cast(cast('x' || substr(archiver.archived_file, 9, 8) as bit(32)) as bigint)
        * (4294967296 / archiver.file_bytes)
        + cast(cast('x' || substr(archiver.archived_file, 17, 8) as bit(32)) as bigint)
            as archived_number,
        cast(cast('x' || substr(archiver.failed_file, 9, 8) as bit(32)) as bigint)
        * (4294967296 / archiver.file_bytes)
        + cast(cast('x' || substr(archiver.failed_file, 17, 8) as bit(32)) as bigint)
            as failed_number
    from archiver
),

queue as (
    select
        bool_or(numbered.is_failing) as is_failing,
        max(
            greatest(
                numbered.current_number
                - coalesce(
                    numbered.failed_number,
                    numbered.archived_number + 1,
                    numbered.number_before,
                    numbered.current_number
                ),
                0
            )
        ) as files
    from numbered
)

select
    cast(queue.files as double precision) as value,
    case when queue.files is null then 'none' else 'seen' end as state,
    case
        when queue.files is null then 'the log is not archived'
        else
            queue.files || case when queue.files = 1 then ' file' else ' files' end
            || ' of the log to be archived'
            || case when queue.is_failing then '; the archiver fails' else '' end
    end as detail
from queue;

-- name: brakes__vacuum_seconds(table_names)
-- How long a vacuum of any kind has been working on a table of the run or a partition of it.
with recursive members as (
    select pg_class.oid
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        pg_namespace.nspname = {{ literal(var('app_schema', 'public')) }}
        and pg_class.relname = any(cast($1 as text[]))
    union
    select pg_inherits.inhrelid as oid
    from members
    inner join pg_catalog.pg_inherits on members.oid = pg_inherits.inhparent
),

vacuums as (
    select
        cast(cast(progress.relid as regclass) as text) as holder,
        sessions.backend_type = 'autovacuum worker' as is_automatic,
        extract(epoch from clock_timestamp() - sessions.xact_start) as seconds
    from pg_catalog.pg_stat_progress_vacuum as progress
    inner join members on progress.relid = members.oid
    inner join pg_catalog.pg_stat_activity as sessions on progress.pid = sessions.pid
    where progress.datname = current_database()
),

longest as (
    select
        coalesce(max(vacuums.seconds), 0) as seconds,
        (
            array_agg(
                case when vacuums.is_automatic then 'autovacuum' else 'a vacuum' end
                || ' has been working on ' || vacuums.holder
                order by vacuums.seconds desc nulls last
            )
        )[1] as found
    from vacuums
)

select
    cast(longest.seconds as double precision) as value,
    case when pg_has_role('pg_read_all_stats', 'usage') then 'seen' else 'blind' end as state,
    case
        when longest.found is not null
            then longest.found || ' for ' || round(longest.seconds) || ' s'
        when pg_has_role('pg_read_all_stats', 'usage') then 'no vacuum on a table of the run'
        else 'role ' || quote_ident(current_user) || ' cannot see which tables are vacuumed'
    end as detail
from longest;

-- name: brakes__blocked_ms()
-- How long a session has been waiting for a lock that the run holds.
with ours as (
    select coalesce(array_agg(sessions.pid), '{}') as pids
    from pg_catalog.pg_stat_activity as sessions
    where
        sessions.application_name like 'trueup apply%'
        and sessions.usename = session_user
),

waiting as (
    select
        lock_requests.pid,
        extract(epoch from clock_timestamp() - lock_requests.waitstart) * 1000 as waited_ms
    from pg_catalog.pg_locks as lock_requests
    cross join ours
    where
        not lock_requests.granted
        and lock_requests.pid <> all(ours.pids)
        and pg_blocking_pids(lock_requests.pid) && ours.pids
),

longest as (
    select
        coalesce(max(waiting.waited_ms), 0) as waited_ms,
        count(distinct waiting.pid) as sessions,
        (array_agg(waiting.pid order by waiting.waited_ms desc nulls last))[1] as pid
    from waiting
)

select
    cast(longest.waited_ms as double precision) as value,
    'seen' as state,
    case
        when longest.sessions = 0 then 'nobody waits for the run'
        else
            'process ' || longest.pid || ' has been waiting for the run for '
            || round(longest.waited_ms) || ' ms'
            || case
                when longest.sessions > 1 then ', and ' || longest.sessions - 1 || ' more'
                else ''
            end
    end as detail
from longest;

-- name: brakes__snapshot_seconds()
-- Age of the oldest transaction of another session that keeps old row versions from being pruned,
-- in this database; a running vacuum keeps none. Every role sees that the sessions exist, but not
-- since when.
with holders as (
    select
        'session ' || coalesce(nullif(sessions.application_name, ''), 'without a name')
        || ' (process ' || sessions.pid || coalesce(', ' || sessions.state, '') || ')' as holder,
        extract(epoch from clock_timestamp() - sessions.xact_start) as seconds
    from pg_catalog.pg_stat_activity as sessions
    left join pg_catalog.pg_stat_progress_vacuum as vacuums on sessions.pid = vacuums.pid
    where
        sessions.datname = current_database()
        and sessions.pid <> pg_backend_pid()
        and vacuums.pid is null
        and coalesce(sessions.backend_xmin, sessions.backend_xid) is not null
        and not (
            sessions.application_name like 'trueup apply%'
            and sessions.usename = session_user
        )
    union all
    select
        'prepared transaction ' || two_phase.gid as holder,
        extract(epoch from clock_timestamp() - two_phase.prepared) as seconds
    from pg_catalog.pg_prepared_xacts as two_phase
    where two_phase.database = current_database()
),

oldest as (
    select
        coalesce(max(holders.seconds), 0) as seconds,
        (array_agg(holders.holder order by holders.seconds desc))[1] as holder
    from holders
    where holders.seconds is not null
)

select
    cast(greatest(oldest.seconds, 0) as double precision) as value,
    case when pg_has_role('pg_read_all_stats', 'usage') then 'seen' else 'blind' end as state,
    case
        when oldest.holder is not null
            then oldest.holder || ' has held a snapshot for ' || round(oldest.seconds) || ' s'
        when pg_has_role('pg_read_all_stats', 'usage') then 'no other session holds a snapshot'
        else
            'role ' || quote_ident(current_user)
            || ' cannot see for how long other sessions have held a snapshot'
    end as detail
from oldest;

-- name: brakes__wal_position()
-- Bytes of log that the server has ever written; NULL on a standby.
select
    case
        when not pg_is_in_recovery()
            then cast(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as bigint)
    end as wal_bytes,
    quote_ident(current_user) as role_name;
