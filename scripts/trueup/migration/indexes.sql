-- Named statements of `trueup index`: catalogs and statistics only. Sizes are in bytes, times in
-- seconds; names come in and are compared as text.

-- name: own_indexes(schema_name, prefix)
-- Indexes that have our name; is_ours: and our shape, for no constraint hangs on ours.
select
    pg_index_class.relname as name,
    pg_table_class.relname as table_name,
    format('%I.%I', pg_namespace.nspname, pg_table_class.relname) as table_qualified,
    format('%I.%I', pg_namespace.nspname, pg_index_class.relname) as qualified,
    pg_index.indisvalid and pg_index.indisready and pg_index.indislive as is_valid,
    pg_index.indpred is not null and not pg_index.indisunique as is_ours,
    pg_relation_size(pg_index_class.oid) as bytes,
    obj_description(pg_index_class.oid, 'pg_class') as comment,
    pg_get_userbyid(pg_table_class.relowner) as owner,
    pg_has_role(pg_table_class.relowner, 'usage') as is_owner
from pg_catalog.pg_index
inner join pg_catalog.pg_class as pg_index_class on pg_index.indexrelid = pg_index_class.oid
inner join pg_catalog.pg_class as pg_table_class on pg_index.indrelid = pg_table_class.oid
inner join pg_catalog.pg_namespace on pg_table_class.relnamespace = pg_namespace.oid
where
    pg_namespace.nspname = cast($1 as text)
    and starts_with(pg_index_class.relname, cast($2 as text))
order by pg_index_class.relname

-- name: owner(qualified)
select pg_get_userbyid(pg_class.relowner) as owner
from pg_catalog.pg_class
where pg_class.oid = to_regclass($1)

-- name: pending_share(schema_name, table_name, column_name, key_columns, canonical_values)
-- As the last analyze saw it: the share of rows that have a value, and none of these, and the width
-- of a key. No row where nobody has analyzed the table. Rare values may be canonical and are
-- counted as if they were not: the share is rather too high than too low.
with column_statistics as (
    select
        pg_stats.attname,
        pg_stats.null_frac,
        pg_stats.avg_width,
        cast(cast(pg_stats.most_common_vals as text) as text[]) as common_values,
        pg_stats.most_common_freqs as common_shares
    from pg_catalog.pg_stats
    where
        pg_stats.schemaname = cast($1 as text)
        and pg_stats.tablename = cast($2 as text)
        and not pg_stats.inherited
),

canonical as (
    select coalesce(sum(common.share), 0) as share
    from column_statistics
    cross join lateral unnest(
        column_statistics.common_values, column_statistics.common_shares
    ) as common (value, share)
    where
        column_statistics.attname = cast($3 as text)
        and common.value collate "C" = any(cast($5 as text[]))
),

keys as (
    select coalesce(sum(column_statistics.avg_width), 8) as bytes
    from column_statistics
    where column_statistics.attname = any(cast($4 as text[]))
)

select
    cast(
        greatest(1 - column_statistics.null_frac - canonical.share, 0) as double precision
    ) as share,
    cast(keys.bytes as bigint) as key_bytes
from column_statistics
cross join canonical
cross join keys
where column_statistics.attname = cast($3 as text)

-- name: working(application_name, qualified)
-- The session that builds or drops: found by its name, for a pooler hides which one it is. With how
-- far a build has come.
select
    sessions.pid,
    builds.phase,
    coalesce(builds.blocks_done, 0) as blocks_done,
    coalesce(builds.blocks_total, 0) as blocks_total
from pg_catalog.pg_stat_activity as sessions
left join pg_catalog.pg_stat_progress_create_index as builds
    on
        sessions.pid = builds.pid
        and builds.relid = to_regclass($2)
where
    sessions.application_name = cast($1 as text)
    and sessions.state = 'active'

-- name: waited_for(pid)
-- Whom that session waits for; a prepared transaction has no process.
select
    waiting.pid,
    coalesce(nullif(sessions.application_name, ''), sessions.usename) as name,
    sessions.state,
    cast(extract(epoch from clock_timestamp() - sessions.xact_start) as double precision)
        as age_seconds
from unnest(pg_blocking_pids($1)) as waiting (pid)
left join pg_catalog.pg_stat_activity as sessions on waiting.pid = sessions.pid
order by age_seconds desc nulls last

-- name: writers(qualified)
-- Transactions that have written to the table and are open.
select distinct
    locks.virtualtransaction,
    locks.pid,
    coalesce(nullif(sessions.application_name, ''), sessions.usename) as name,
    sessions.state,
    cast(extract(epoch from clock_timestamp() - sessions.xact_start) as double precision)
        as age_seconds
from pg_catalog.pg_locks as locks
inner join pg_catalog.pg_database
    on
        locks.database = pg_database.oid
        and pg_database.datname = current_database()
left join pg_catalog.pg_stat_activity as sessions on locks.pid = sessions.pid
where
    locks.locktype = 'relation'
    and locks.relation = to_regclass($1)
    and locks.granted
    and locks.mode in (
        'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )

-- name: held_up(pid, qualified)
-- Who waits for that session and wants a lock that holds up writers: every write would queue behind
-- it. An `alter table` of a deployment, as a rule.
select
    locks.pid,
    coalesce(nullif(sessions.application_name, ''), sessions.usename) as name,
    locks.mode
from pg_catalog.pg_locks as locks
inner join pg_catalog.pg_database
    on
        locks.database = pg_database.oid
        and pg_database.datname = current_database()
left join pg_catalog.pg_stat_activity as sessions on locks.pid = sessions.pid
where
    locks.locktype = 'relation'
    and locks.relation = to_regclass($2)
    and not locks.granted
    and locks.mode in (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'
    )
    and cast($1 as integer) = any(pg_blocking_pids(locks.pid))

-- name: cancel(pid)
select pg_cancel_backend($1) as is_cancelled
