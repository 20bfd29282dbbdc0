-- Named statements that look at a table and at its server: catalogs and statistics only, no row of
-- the application. Names are text parameters and are compared as text, so that they need no quotes
-- and are not cut at 63 bytes. `members` are the relations that hold the rows: the leaves
-- of a partitioned table, otherwise the table itself. Sizes are in bytes, times in seconds.

-- name: table__relation(schema_name, table_name)
with named as (
    select
        pg_class.oid,
        pg_class.relkind,
        pg_class.relispartition,
        pg_namespace.nspname,
        pg_class.relname
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        pg_namespace.nspname = cast($1 as text)
        and pg_class.relname = cast($2 as text)
),

leaves as (
    select tree.relid as oid
    from named
    cross join lateral pg_partition_tree(named.oid) as tree
    where named.relkind = 'p' and tree.isleaf
),

partitions as (
    select
        array_agg(cast(leaves.oid as bigint) order by leaves.oid) as oids,
        count(*) as partitions
    from leaves
),

-- Table inheritance, without partitions.
kinship as (
    select
        array_agg(quote_ident(child.relname) order by child.relname)
        filter (where pg_inherits.inhparent = named.oid) as children,
        array_agg(quote_ident(parent.relname) order by parent.relname)
        filter (where pg_inherits.inhrelid = named.oid) as parents
    from named
    inner join pg_catalog.pg_inherits on named.oid in (pg_inherits.inhparent, pg_inherits.inhrelid)
    inner join pg_catalog.pg_class as child on pg_inherits.inhrelid = child.oid
    inner join pg_catalog.pg_class as parent on pg_inherits.inhparent = parent.oid
    where not child.relispartition
)

select
    cast(named.oid as bigint) as oid,
    partitions.partitions,
    format('%I.%I', named.nspname, named.relname) as qualified,
    quote_ident(named.nspname) as schema_quoted,
    case named.relkind
        when 'r' then 'table'
        when 'p' then 'partitioned table'
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'f' then 'foreign table'
        when 'S' then 'sequence'
        when 'c' then 'composite type'
        else 'index'
    end as kind,
    case
        when named.relkind = 'p' then coalesce(partitions.oids, '{}')
        else array[cast(named.oid as bigint)]
    end as members,
    coalesce(kinship.children, '{}') as children,
    coalesce(kinship.parents, '{}') as parents
from named
cross join partitions
cross join kinship;

-- name: table__columns(oid)
with recursive types as (
    select
        pg_attribute.attnum,
        0 as depth,
        pg_attribute.atttypid as type_oid,
        pg_attribute.atttypmod as typmod
    from pg_catalog.pg_attribute
    where
        pg_attribute.attrelid = cast($1 as oid)
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
    union all
    -- A domain is based on another type, which may itself be a domain.
    select
        types.attnum,
        types.depth + 1 as depth,
        pg_type.typbasetype as type_oid,
        pg_type.typtypmod as typmod
    from types
    inner join pg_catalog.pg_type on types.type_oid = pg_type.oid
    where pg_type.typtype = 'd'
),

domains as (
    select
        types.attnum,
        array_agg(quote_ident(pg_constraint.conname) order by pg_constraint.conname) as checks
    from types
    inner join pg_catalog.pg_constraint
        on types.type_oid = pg_constraint.contypid and pg_constraint.contype = 'c'
    group by types.attnum
)

select
    pg_attribute.attname as name,
    pg_collation.collname as collation,
    pg_attribute.attnotnull as is_not_null,
    quote_ident(pg_attribute.attname) as quoted,
    format_type(pg_attribute.atttypid, pg_attribute.atttypmod) as type,
    case when base_type.typtype = 'e' then 'enum' else base_type.typname end as base,
    case
        when base_type.typname in ('varchar', 'bpchar') and types.typmod > 4 then types.typmod - 4
    end as max_length,
    own_type.typtype = 'd' as is_domain,
    coalesce(domains.checks, '{}') as domain_checks,
    coalesce(pg_collation.collisdeterministic, true) as is_deterministic,
    case pg_attribute.attgenerated when 's' then 'stored' when 'v' then 'virtual' end as generated
from pg_catalog.pg_attribute
inner join types on pg_attribute.attnum = types.attnum
inner join pg_catalog.pg_type as base_type
    on types.type_oid = base_type.oid and base_type.typtype <> 'd'
inner join pg_catalog.pg_type as own_type on pg_attribute.atttypid = own_type.oid
left join pg_catalog.pg_collation on pg_attribute.attcollation = pg_collation.oid
left join domains on pg_attribute.attnum = domains.attnum
where pg_attribute.attrelid = cast($1 as oid)
order by pg_attribute.attnum;

-- name: table__primary_key(oid)
select pg_attribute.attname as name
from pg_catalog.pg_index
cross join
    lateral unnest(cast(pg_index.indkey as int2[])) with ordinality as key_columns (
        attnum, position
    )
inner join pg_catalog.pg_attribute
    on
        pg_index.indrelid = pg_attribute.attrelid
        and key_columns.attnum = pg_attribute.attnum
where
    pg_index.indrelid = cast($1 as oid)
    and pg_index.indisprimary
    and key_columns.position <= pg_index.indnkeyatts
order by key_columns.position;

-- name: table__storage(members, column_name)
with members as (
    select
        pg_class.oid,
        pg_class.reltuples,
        pg_class.relpages,
        pg_class.relreplident,
        format('%I.%I', pg_namespace.nspname, pg_class.relname) as qualified,
        pg_relation_size(pg_class.oid) as heap_bytes,
        pg_total_relation_size(pg_class.oid) as bytes,
        greatest(tables.last_analyze, tables.last_autoanalyze) as last_analyze,
        statistics.attname is not null as has_statistics
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    left join pg_catalog.pg_stat_all_tables as tables on pg_class.oid = tables.relid
    left join pg_catalog.pg_stats as statistics
        on
            pg_namespace.nspname = statistics.schemaname
            and pg_class.relname = statistics.tablename
            and statistics.attname = cast($2 as text)
            and not statistics.inherited
    where pg_class.oid = any(cast(cast($1 as bigint[]) as oid[]))
),

options as (
    select cast(min(pairs.option_value) as integer) as fillfactor
    from pg_catalog.pg_class
    cross join lateral pg_options_to_table(pg_class.reloptions) as pairs
    where
        pg_class.oid = any(cast(cast($1 as bigint[]) as oid[]))
        and pairs.option_name = 'fillfactor'
),

totals as (
    select
        cast(coalesce(sum(members.bytes), 0) as bigint) as bytes,
        min(members.last_analyze) as last_analyze,
        -- As the planner does it: rows per page at the last analyze or vacuum, times the present
        -- pages.
        case
            when bool_or(members.reltuples < 0 and members.heap_bytes > 0) then null
            else
                cast(
                    sum(
                        case
                            when members.relpages = 0 then greatest(members.reltuples, 0)
                            else
                                members.reltuples
                                / members.relpages
                                * (
                                    members.heap_bytes
                                    / cast(current_setting('block_size') as integer)
                                )
                        end
                    ) as bigint
                )
        end as estimated_rows,
        coalesce(
            array_agg(members.qualified order by members.qualified) filter (
                where
                members.heap_bytes > 0
                and members.last_analyze is null
                and not members.has_statistics
            ),
            '{}'
        ) as never_analyzed,
        coalesce(
            array_agg(
                distinct case members.relreplident
                    when 'd' then 'default'
                    when 'n' then 'nothing'
                    when 'f' then 'full'
                    else 'index'
                end
            ),
            '{}'
        ) as replica_identities
    from members
)

select
    totals.estimated_rows,
    totals.bytes,
    totals.last_analyze,
    totals.never_analyzed,
    totals.replica_identities,
    coalesce(options.fillfactor, 100) as fillfactor
from totals
cross join options;

-- name: table__indexes(members)
with indexes as (
    select
        pg_index.*,
        pg_am.amname,
        format('%I.%I', pg_namespace.nspname, pg_class.relname) as qualified,
        pg_relation_size(pg_index.indexrelid) as bytes,
        -- A constraint of the application, which must stay whatever it costs.
        pg_index.indisunique
        or pg_index.indisreplident
        or pg_constraint.conname is not null as is_rule,
        starts_with(pg_class.relname, 'trueup_pending__') as is_pending
    from pg_catalog.pg_index
    inner join pg_catalog.pg_class on pg_index.indexrelid = pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_catalog.pg_am on pg_class.relam = pg_am.oid
    left join pg_catalog.pg_constraint
        on
            pg_index.indexrelid = pg_constraint.conindid
            and pg_index.indrelid = pg_constraint.conrelid
            and pg_constraint.contype in ('p', 'u', 'x')
    where
        pg_index.indrelid = any(cast(cast($1 as bigint[]) as oid[]))
        and pg_index.indislive
),

contained as (
    select
        indexes.indexrelid,
        pg_attribute.attname,
        array_position(cast(indexes.indkey as int2[]), pg_attribute.attnum) as position,
        -- The form of a column in the server's node trees; 0 is the whole row.
        cast(indexes.indexprs as text)
        ~ (':varattno (0|' || pg_attribute.attnum || ') ') as is_in_expression,
        cast(indexes.indpred as text)
        ~ (':varattno (0|' || pg_attribute.attnum || ') ') as is_in_predicate
    from indexes
    inner join pg_catalog.pg_attribute
        on
            indexes.indrelid = pg_attribute.attrelid
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
)

select
    indexes.qualified,
    indexes.amname as method,
    indexes.bytes,
    case
        when indexes.is_rule then 'expect more WAL and growth'
        else
            'drop index concurrently ' || indexes.qualified
            || case
                when indexes.is_pending then ' after the run'
                else ' for the run, if that is allowed'
            end
    end as remedy,
    -- int2vector counts from 0
    coalesce(
        array_agg(contained.attname order by contained.position)
        filter (where contained.position < indexes.indnkeyatts),
        '{}'
    ) as key_columns,
    coalesce(
        array_agg(contained.attname order by contained.position)
        filter (where contained.position >= indexes.indnkeyatts),
        '{}'
    ) as included_columns,
    coalesce(
        array_agg(contained.attname order by contained.attname)
        filter (where contained.is_in_expression),
        '{}'
    ) as expression_columns,
    coalesce(
        array_agg(contained.attname order by contained.attname)
        filter (where contained.is_in_predicate),
        '{}'
    ) as predicate_columns
from indexes
inner join contained on indexes.indexrelid = contained.indexrelid
group by
    indexes.indexrelid,
    indexes.qualified,
    indexes.amname,
    indexes.bytes,
    indexes.is_rule,
    indexes.is_pending,
    indexes.indnkeyatts
order by indexes.qualified;

-- name: table__triggers(oid, members, column_name)
-- Triggers that fire for `update ... set column_name`: statement triggers of the table itself, and
-- row triggers of the relations that hold the rows (a partition has copies of its parents'
-- triggers).
with triggers as (
    select
        pg_trigger.tgname,
        pg_trigger.tgenabled,
        pg_trigger.tgrelid,
        pg_trigger.tgtype & 1 > 0 as is_row,
        pg_trigger.tgtype & 2 > 0 as is_before,
        pg_trigger.tgtype & 64 > 0 as is_instead,
        pg_trigger.tgtype & 4 > 0 as on_insert,
        pg_trigger.tgtype & 8 > 0 as on_delete,
        pg_trigger.tgtype & 16 > 0 as on_update,
        pg_trigger.tgtype & 32 > 0 as on_truncate,
        cardinality(cast(pg_trigger.tgattr as int2[])) = 0
        or pg_attribute.attnum = any(cast(pg_trigger.tgattr as int2[])) as concerns_column,
        format('%I.%I', pg_namespace.nspname, pg_proc.proname) as function,
        lower(pg_proc.prosrc) as source
    from pg_catalog.pg_trigger
    inner join pg_catalog.pg_attribute
        on
            pg_trigger.tgrelid = pg_attribute.attrelid
            and pg_attribute.attname = cast($3 as text)
            and not pg_attribute.attisdropped
    inner join pg_catalog.pg_proc on pg_trigger.tgfoid = pg_proc.oid
    inner join pg_catalog.pg_namespace on pg_proc.pronamespace = pg_namespace.oid
    where
        not pg_trigger.tgisinternal
        and case
            when pg_trigger.tgtype & 1 > 0
                then pg_trigger.tgrelid = any(cast(cast($2 as bigint[]) as oid[]))
            else pg_trigger.tgrelid = cast($1 as oid)
        end
)

select distinct
    triggers.function,
    triggers.is_row,
    quote_ident(triggers.tgname) as name,
    case
        when triggers.is_before then 'before'
        when triggers.is_instead then 'instead of'
        else 'after'
    end as timing,
    concat_ws(
        ' or ',
        case when triggers.on_insert then 'insert' end,
        case when triggers.on_update then 'update' end,
        case when triggers.on_delete then 'delete' end,
        case when triggers.on_truncate then 'truncate' end
    ) as events,
    triggers.tgenabled in ('O', 'A') as is_enabled,
    triggers.on_update
    and triggers.concerns_column
    and triggers.tgenabled in ('O', 'A') as fires,
    -- Other columns that the function's text visibly sets; only a rehearsal finds changes by C,
    -- dynamic SQL or other functions.
    array(
        select pg_attribute.attname
        from pg_catalog.pg_attribute
        where
            pg_attribute.attrelid = triggers.tgrelid
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
            and pg_attribute.attname <> cast($3 as text)
            and pg_attribute.attname ~ '^[a-z_][a-z0-9_]*$'
            and triggers.is_before
            and triggers.is_row
            and triggers.source ~ (
                '(\mnew\."?' || pg_attribute.attname || '"?\s*:=)'
                || '|((^|;|\mbegin|\mthen|\melse)\s*new\."?' || pg_attribute.attname || '"?\s*=)'
            )
        order by pg_attribute.attnum
    ) as sets_columns
from triggers
order by name;

-- name: table__constraints(oid, column_name)
select
    cast(cast(pg_constraint.conrelid as regclass) as text) as relation,
    quote_ident(pg_constraint.conname) as name,
    case pg_constraint.contype
        when 'c' then 'check'
        when 'u' then 'unique'
        when 'p' then 'primary key'
        when 'x' then 'exclusion'
        when 'f' then
            case
                when pg_constraint.conrelid = pg_attribute.attrelid then 'foreign key'
                else 'referenced by'
            end
    end as kind
from pg_catalog.pg_attribute
inner join pg_catalog.pg_constraint
    on
        (
            pg_attribute.attrelid = pg_constraint.conrelid
            and pg_attribute.attnum = any(pg_constraint.conkey)
        )
        or (
            pg_attribute.attrelid = pg_constraint.confrelid
            and pg_attribute.attnum = any(pg_constraint.confkey)
        )
where
    pg_attribute.attrelid = cast($1 as oid)
    and pg_attribute.attname = cast($2 as text)
    and pg_constraint.contype in ('c', 'u', 'p', 'x', 'f')
order by
    kind,
    pg_constraint.conname;

-- name: table__surroundings(oid, members, column_name)
with everyone as (
    select unnest(cast(cast($2 as bigint[]) || cast($1 as bigint) as oid[])) as oid
),

-- A generated column depends on what it is computed from; the server records this for the
-- expression or for the column, depending on its version.
computed as (
    select distinct
        generated.attname,
        generated.attgenerated
    from pg_catalog.pg_attribute as managed
    inner join pg_catalog.pg_depend
        on
            pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
            and managed.attrelid = pg_depend.refobjid
            and managed.attnum = pg_depend.refobjsubid
    left join pg_catalog.pg_attrdef
        on
            pg_depend.classid = cast('pg_catalog.pg_attrdef' as regclass)
            and pg_depend.objid = pg_attrdef.oid
    inner join pg_catalog.pg_attribute as generated
        on
            managed.attrelid = generated.attrelid
            and generated.attgenerated <> ''
            and managed.attnum <> generated.attnum
            and (
                pg_attrdef.adnum = generated.attnum
                or (
                    pg_depend.classid = cast('pg_catalog.pg_class' as regclass)
                    and managed.attrelid = pg_depend.objid
                    and pg_depend.objsubid = generated.attnum
                )
            )
    where
        managed.attrelid = cast($1 as oid)
        and managed.attname = cast($3 as text)
),

readers as (
    select distinct format('%I.%I', pg_namespace.nspname, pg_class.relname) as name
    from everyone
    inner join pg_catalog.pg_depend
        on
            everyone.oid = pg_depend.refobjid
            and pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
            and pg_depend.classid = cast('pg_catalog.pg_rewrite' as regclass)
    inner join pg_catalog.pg_rewrite on pg_depend.objid = pg_rewrite.oid
    inner join pg_catalog.pg_class
        on
            pg_rewrite.ev_class = pg_class.oid
            and pg_class.relkind in ('v', 'm')
            and pg_class.oid <> cast($1 as oid)
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
),

published as (
    select distinct pg_publication.pubname
    from everyone
    inner join pg_catalog.pg_class on everyone.oid = pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_catalog.pg_publication_tables
        on
            pg_namespace.nspname = pg_publication_tables.schemaname
            and pg_class.relname = pg_publication_tables.tablename
    inner join pg_catalog.pg_publication
        on
            pg_publication_tables.pubname = pg_publication.pubname
            and pg_publication.pubupdate
),

rules as (
    select pg_rewrite.rulename
    from pg_catalog.pg_rewrite
    inner join pg_catalog.pg_class on pg_rewrite.ev_class = pg_class.oid
    where
        pg_class.oid = cast($1 as oid)
        and pg_class.relkind in ('r', 'p')
        and pg_rewrite.ev_type = '2'
),

partition_keys as (
    select pg_attribute.attname
    from everyone
    cross join lateral pg_partition_ancestors(everyone.oid) as ancestors
    inner join pg_catalog.pg_partitioned_table on ancestors.relid = pg_partitioned_table.partrelid
    inner join pg_catalog.pg_attribute on ancestors.relid = pg_attribute.attrelid
    where
        pg_attribute.attname = cast($3 as text)
        and (
            pg_attribute.attnum = any(cast(pg_partitioned_table.partattrs as int2[]))
            or cast(pg_partitioned_table.partexprs as text)
            ~ (':varattno (0|' || pg_attribute.attnum || ') ')
        )
)

select
    array(
        select computed.attname from computed
        order by computed.attname
    ) as computed_columns,
    array(
        select readers.name from readers
        order by readers.name
    ) as views,
    array(
        select quote_ident(published.pubname) from published
        order by published.pubname
    ) as publications,
    array(
        select quote_ident(rules.rulename) from rules
        order by rules.rulename
    ) as update_rules,
    exists(select from partition_keys) as is_partition_key;

-- name: table__rights(oid, column_name, needed_columns)
with attributes as (
    select
        pg_attribute.attnum,
        pg_attribute.attname,
        pg_attribute.attname = cast($2 as text) as is_managed,
        pg_attribute.attname = any(cast($3 as text[])) as is_needed,
        has_column_privilege(cast($1 as oid), pg_attribute.attnum, 'select') as may_select,
        has_column_privilege(cast($1 as oid), pg_attribute.attnum, 'update') as may_update
    from pg_catalog.pg_attribute
    where
        pg_attribute.attrelid = cast($1 as oid)
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
),

by_column as (
    select
        coalesce(
            array_agg(quote_ident(attributes.attname) order by attributes.attnum)
            filter (where attributes.is_needed and not attributes.may_select),
            '{}'
        ) as missing_select,
        coalesce(bool_or(attributes.may_update) filter (where attributes.is_managed), false)
            as may_update,
        count(*) filter (where attributes.may_update and not attributes.is_managed)
            as other_updates
    from attributes
)

select
    by_column.missing_select,
    by_column.may_update,
    has_schema_privilege(pg_class.relnamespace, 'usage') as may_use_schema,
    array_remove(
        array[
            case
                when by_column.other_updates > 0
                    then 'update of ' || by_column.other_updates || ' other columns'
            end,
            case when has_any_column_privilege(pg_class.oid, 'insert') then 'insert' end,
            case when has_table_privilege(pg_class.oid, 'delete') then 'delete' end,
            case when has_table_privilege(pg_class.oid, 'truncate') then 'truncate' end
        ],
        null
    ) as more_rights,
    pg_has_role(pg_class.relowner, 'usage') as is_owner,
    row_security_active(pg_class.oid) as row_security_active
from pg_catalog.pg_class
cross join by_column
where pg_class.oid = cast($1 as oid);

-- name: server__settings()
with timeouts as (
    select
        max(cast(pg_settings.setting as bigint))
        filter (where pg_settings.name = 'deadlock_timeout') as deadlock_timeout_ms,
        max(cast(pg_settings.setting as bigint))
        filter (where pg_settings.name = 'lock_timeout') as lock_timeout_ms,
        max(cast(pg_settings.setting as bigint))
        filter (where pg_settings.name = 'statement_timeout') as statement_timeout_ms
    from pg_catalog.pg_settings
    where pg_settings.name in ('deadlock_timeout', 'lock_timeout', 'statement_timeout')
)

select
    timeouts.deadlock_timeout_ms,
    timeouts.lock_timeout_ms,
    timeouts.statement_timeout_ms,
    cast(current_setting('full_page_writes') as boolean) as full_page_writes,
    cast(current_setting('server_version_num') as integer) / 10000 as version,
    quote_ident(current_user) as role,
    quote_ident(current_database()) as database,
    pg_is_in_recovery() as is_standby,
    pg_has_role('pg_read_all_stats', 'usage') as sees_activity,
    pg_backend_pid() as backend_pid,
    current_setting('wal_level') as wal_level
from timeouts;

-- name: server__snapshots()
-- Sessions that keep old row versions from being pruned, the oldest first. Without
-- pg_read_all_stats the age of other roles' transactions is NULL, which means unknown, not young.
with holders as (
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
)

select
    holders.kind,
    holders.name,
    holders.pid,
    holders.state,
    cast(holders.age_seconds as double precision) as age_seconds,
    holders.age_transactions,
    holders.is_active,
    holders.is_remote
from holders
order by
    holders.age_transactions desc,
    holders.age_seconds desc nulls last;

-- name: server__replicas()
-- Receivers of the log, and how far behind they are. Without pg_read_all_stats all except the
-- number is NULL.
select
    senders.state,
    coalesce(nullif(senders.application_name, ''), 'process ' || senders.pid) as name,
    case
        when not pg_is_in_recovery()
            then
                cast(
                    pg_wal_lsn_diff(
                        pg_current_wal_lsn(),
                        -- an archive of the log replays nothing
                        coalesce(senders.replay_lsn, senders.flush_lsn)
                    ) as bigint
                )
    end as lag_bytes,
    case
        when senders.state is not null
            then
                cast(
                    coalesce(
                        extract(epoch from coalesce(senders.replay_lag, senders.flush_lag)), 0
                    ) as double precision
                )
    end as lag_seconds
from pg_catalog.pg_stat_replication as senders
order by senders.pid;

-- name: server__slots()
select
    slots.slot_name as name,
    slots.slot_type as kind,
    slots.active as is_active,
    slots.wal_status,
    case
        when not pg_is_in_recovery()
            then
                cast(
                    pg_wal_lsn_diff(pg_current_wal_lsn(), slots.restart_lsn) as bigint
                )
    end as kept_bytes
from pg_catalog.pg_replication_slots as slots
order by slots.slot_name;

-- name: server__ledger(schema_name, relation_names, updated_names)
-- The missing relations of the ledger, and the current role's rights on the existing ones.
with wanted as (
    select
        wanted_names.relation_name,
        pg_class.oid,
        pg_class.relnamespace,
        pg_class.relkind
    from unnest(cast($2 as text[])) as wanted_names (relation_name)
    left join pg_catalog.pg_namespace on pg_namespace.nspname = cast($1 as text)
    left join pg_catalog.pg_class
        on
            pg_namespace.oid = pg_class.relnamespace
            and wanted_names.relation_name = pg_class.relname
),

needed as (
    select
        wanted.relation_name,
        wanted.oid,
        rights.name as right_name
    from wanted
    inner join (values ('select'), ('insert'), ('update')) as rights (name)
        on
            rights.name = 'select'
            or (rights.name = 'insert' and wanted.relkind = 'r')
            or (rights.name = 'update' and wanted.relation_name = any(cast($3 as text[])))
    where
        wanted.oid is not null
        and not (
            has_schema_privilege(wanted.relnamespace, 'usage')
            and has_table_privilege(wanted.oid, rights.name)
        )
),

absent as (
    select array_agg(wanted.relation_name order by wanted.relation_name) as missing
    from wanted
    where wanted.oid is null
),

refused as (
    select
        array_agg(
            needed.right_name || ' on ' || quote_ident(needed.relation_name)
            order by needed.relation_name, needed.right_name
        ) as missing_rights
    from needed
),

final as (
    select
        quote_ident(cast($1 as text)) as schema,
        coalesce(absent.missing, '{}') as missing,
        coalesce(refused.missing_rights, '{}') as missing_rights
    from absent
    cross join refused
)

select * from final;
