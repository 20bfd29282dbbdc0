-- Named statements that judge the server: catalogs and statistics only, no row of the application.

-- name: server__findings(client_pid, replica_bytes, replica_seconds, slot_bytes, snapshot_seconds,
--     ledger_schema, ledger_names, updated_names, writes, builds)
-- client_pid: of our session, as the client knows it; a pooler invents the one that it sends.
-- replica_bytes, ...: at what a run would wait, NULL if that brake is switched off.
-- updated_names: the ledger's relations that a run updates.
-- writes: rows will be changed in place; otherwise what only that needs is a warning.
-- builds: also what `dbt build` needs; who only operates what was built can do without.
with asked as (
    select
        cast($2 as double precision) as replica_bytes,
        cast($3 as double precision) as replica_seconds,
        cast($4 as double precision) as slot_bytes,
        cast($5 as double precision) as snapshot_seconds,
        cast($10 as boolean) as builds,
        pg_backend_pid() <> cast($1 as integer) as is_pooled,
        quote_ident(cast($6 as text)) as ledger_schema,
        case when cast($9 as boolean) then 'fail' else 'warn' end as blocked,
        quote_ident(current_user) as role,
        quote_ident(current_database()) as database,
        cast(current_setting('server_version_num') as integer) / 10000 as version,
        current_setting('server_encoding') as charset,
        pg_is_in_recovery() as is_standby,
        pg_has_role('pg_read_all_stats', 'usage') as sees_sessions,
        has_database_privilege(current_database(), 'create') as may_create
),

timeouts as (
    select
        max(cast(pg_settings.setting as bigint))
        filter (where pg_settings.name = 'deadlock_timeout') as deadlock_ms,
        max(cast(pg_settings.setting as bigint))
        filter (where pg_settings.name = 'statement_timeout') as statement_ms
    from pg_catalog.pg_settings
    where pg_settings.name in ('deadlock_timeout', 'statement_timeout')
),

server_outcomes as (
    select
        outcomes.code,
        outcomes.status,
        outcomes.arguments
    from asked
    cross join timeouts
    cross join
        lateral (
            values
            (
                'server__version', 'ok', asked.version between 15 and 18,
                array[cast(asked.version as text)]
            ),
            (
                'server__version_unsupported', 'fail', asked.version not between 15 and 18,
                array[cast(asked.version as text), '15', '18']
            ),
            ('server__read_only', 'fail', asked.is_standby, '{}'),
            ('server__writable', 'ok', not asked.is_standby, '{}'),
            ('server__pooled', 'ok', asked.is_pooled, '{}'),
            ('server__direct', 'ok', not asked.is_pooled, '{}'),
            ('server__monitor', 'ok', asked.sees_sessions, array[asked.role]),
            ('server__no_monitor', 'warn', not asked.sees_sessions, array[asked.role]),
            -- a batch waits up to 200 ms for a lock: at most 0.8 of it
            (
                'server__deadlock_timeout_short', 'warn', timeouts.deadlock_ms < 250,
                array[cast(timeouts.deadlock_ms as text), '250', asked.database]
            ),
            (
                'server__statement_timeout_short', 'warn',
                timeouts.statement_ms between 1 and 599999,
                array[cast(timeouts.statement_ms as text), asked.role]
            ),
            (
                'server__timeouts', 'ok',
                timeouts.deadlock_ms >= 250 and timeouts.statement_ms not between 1 and 599999,
                array[cast(timeouts.deadlock_ms as text)]
            )
        ) as outcomes (code, status, is_found, arguments)
    where outcomes.is_found
),

{{ old_snapshots() }},

snapshot_outcomes as (
    select
        case
            when old_snapshots.kind = 'prepared transaction' then 'server__prepared_old'
            when old_snapshots.kind = 'replication slot' and not old_snapshots.is_active
                then 'server__slot_old'
            when old_snapshots.is_remote then 'server__standby_old'
            when old_snapshots.age_seconds is null then 'server__transaction_unseen'
            else 'server__transaction_old'
        end as code,
        'warn' as status,
        array[
            old_snapshots.words,
            cast(old_snapshots.pid as text),
            asked.role,
            old_snapshots.name
        ] as arguments
    from old_snapshots
    cross join asked
    where old_snapshots.number <= 3
    union all
    select
        'server__snapshots_more' as code,
        'warn' as status,
        array[cast(count(*) - 3 as text)] as arguments
    from old_snapshots
    having count(*) > 3
    union all
    select
        'server__run_waits' as code,
        'warn' as status,
        array[
            {{ duration_text('asked.snapshot_seconds') | indent(12) }}
        ] as arguments
    from asked
    inner join old_snapshots
        on
            asked.snapshot_seconds < old_snapshots.age_seconds
            and not old_snapshots.is_remote
    group by asked.snapshot_seconds
    union all
    select
        'server__no_old_snapshot' as code,
        'ok' as status,
        '{}' as arguments
    from old_snapshots
    having count(*) = 0
),

-- Receivers of the log. Without pg_read_all_stats all except their number is NULL.
replicas as (
    select
        senders.pid,
        senders.state,
        coalesce(nullif(senders.application_name, ''), 'process ' || senders.pid) as name,
        case
            when not pg_is_in_recovery()
                then
                    pg_wal_lsn_diff(
                        pg_current_wal_lsn(),
                        -- an archive of the log replays nothing
                        coalesce(senders.replay_lsn, senders.flush_lsn)
                    )
        end as lag_bytes,
        coalesce(
            extract(epoch from coalesce(senders.replay_lag, senders.flush_lag)), 0
        ) as lag_seconds
    from pg_catalog.pg_stat_replication as senders
),

judged_replicas as (
    select
        replicas.*,
        case
            when replicas.state is null then 'server__standby_unseen'
            when replicas.lag_bytes is null then 'server__standby_starting'
            when
                replicas.lag_bytes > asked.replica_bytes
                or replicas.lag_seconds > asked.replica_seconds
                then 'server__standby_behind'
            when coalesce(asked.replica_bytes, asked.replica_seconds) is null
                then 'server__standby_unlimited'
            else 'server__standby_follows'
        end as code
    from replicas
    cross join asked
),

replica_outcomes as (
    select
        judged_replicas.code,
        case judged_replicas.code
            when 'server__standby_follows' then 'ok'
            when 'server__standby_starting' then 'ok'
            when 'server__standby_unlimited' then 'info'
            else 'warn'
        end as status,
        array[
            judged_replicas.name,
            pg_size_pretty(judged_replicas.lag_bytes),
            {{ duration_text('judged_replicas.lag_seconds') | indent(12) }},
            judged_replicas.state,
            asked.role
        ] as arguments
    from judged_replicas
    cross join asked
    union all
    select
        'server__standby_none' as code,
        'ok' as status,
        '{}' as arguments
    from replicas
    having count(*) = 0
),

slots as (
    select
        slots.slot_name,
        slots.active,
        case
            when not pg_is_in_recovery()
                then pg_wal_lsn_diff(pg_current_wal_lsn(), slots.restart_lsn)
        end as kept_bytes
    from pg_catalog.pg_replication_slots as slots
),

slot_outcomes as (
    select
        case when slots.active then 'server__slot_behind' else 'server__slot_abandoned' end as code,
        'warn' as status,
        array[cast(slots.slot_name as text), pg_size_pretty(slots.kept_bytes)] as arguments
    from slots
    cross join asked
    where slots.kept_bytes > asked.slot_bytes
    union all
    select
        case
            when asked.slot_bytes is null then 'server__slots_unlimited'
            else 'server__slots'
        end as code,
        case when asked.slot_bytes is null then 'info' else 'ok' end as status,
        array[
            cast(count(slots.slot_name) as text),
            pg_size_pretty(cast(asked.slot_bytes as bigint))
        ] as arguments
    from asked
    left join slots on true
    group by asked.slot_bytes
    having coalesce(max(slots.kept_bytes) <= asked.slot_bytes, true)
),

wanted as (
    select
        wanted_names.relation_name,
        pg_class.oid,
        pg_class.relnamespace,
        pg_class.relkind
    from unnest(cast($7 as text[])) as wanted_names (relation_name)
    left join pg_catalog.pg_namespace on pg_namespace.nspname = cast($6 as text)
    left join pg_catalog.pg_class
        on
            pg_namespace.oid = pg_class.relnamespace
            and wanted_names.relation_name = pg_class.relname
),

refused as (
    select
        rights.name || ' on ' || quote_ident(wanted.relation_name) as words,
        format(
            'grant %s on %s.%I to %s;',
            rights.name,
            asked.ledger_schema,
            wanted.relation_name,
            asked.role
        ) as command
    from wanted
    cross join asked
    inner join (values ('select'), ('insert'), ('update')) as rights (name)
        on
            rights.name = 'select'
            or (
                rights.name = 'insert'
                and wanted.relkind = 'r'
                -- the guard's tables are written by its functions
                and not starts_with(wanted.relation_name, 'guard_')
                and not starts_with(wanted.relation_name, 'validation_')
            )
            or (rights.name = 'update' and wanted.relation_name = any(cast($8 as text[])))
    where
        wanted.oid is not null
        and not (
            has_schema_privilege(wanted.relnamespace, 'usage')
            -- docs/grants.md grants the update of some columns only
            and case rights.name
                when 'update' then has_any_column_privilege(wanted.oid, 'update')
                else has_table_privilege(wanted.oid, rights.name)
            end
        )
),

ledger as (
    select
        count(*) filter (where wanted.oid is not null) = 0 as is_missing,
        coalesce(
            array_agg(wanted.relation_name order by wanted.relation_name)
            filter (where wanted.oid is null),
            '{}'
        ) as missing,
        array(
            select refused.words from refused
            order by refused.words
        ) as refused,
        array(
            select refused.command from refused
            order by refused.words
        ) as commands
    from wanted
),

-- Whether the models that a plan reads are there, in whatever schema dbt was told.
models as (
    select
        count(distinct pg_class.relname) = 2 as are_built,
        case
            when count(distinct pg_class.relname) = 2 and bool_and(ledger.missing = '{}')
                then 'warn'
            else 'fail'
        end as missed
    from ledger
    left join pg_catalog.pg_class
        on
            pg_class.relname in ('dim_vocabularies', 'int_vocabulary_keys')
            and pg_class.relkind in ('r', 'v')
),

extensions as (
    select
        count(pg_extension.extname) > 0 as is_installed,
        count(*) > 0 as is_available
    from pg_catalog.pg_available_extensions
    left join pg_catalog.pg_extension on pg_available_extensions.name = pg_extension.extname
    where pg_available_extensions.name = 'fuzzystrmatch'
),

ledger_outcomes as (
    select
        outcomes.code,
        outcomes.status,
        outcomes.arguments
    from asked
    cross join ledger
    cross join
        lateral (
            values
            (
                'server__ledger', 'ok', ledger.missing = '{}' and ledger.refused = '{}',
                array[asked.ledger_schema]
            ),
            (
                'server__ledger_missing', asked.blocked, ledger.is_missing,
                array[asked.ledger_schema]
            ),
            (
                'server__ledger_incomplete', asked.blocked,
                ledger.missing <> '{}' and not ledger.is_missing,
                array[
                    asked.ledger_schema,
                    {{ listed('ledger.missing') | indent(20) }}
                ]
            ),
            (
                'server__ledger_forbidden', asked.blocked, ledger.refused <> '{}',
                array[
                    asked.ledger_schema,
                    asked.role,
                    {{ listed('ledger.refused') | indent(20) }},
                    array_to_string(ledger.commands, E'\n')
                ]
            )
        ) as outcomes (code, status, is_found, arguments)
    where outcomes.is_found
),

building_outcomes as (
    select
        outcomes.code,
        outcomes.status,
        outcomes.arguments
    from asked
    cross join models
    cross join extensions
    cross join
        lateral (
            values
            (
                'server__encoding', 'ok', asked.charset = 'UTF8',
                array[asked.charset]
            ),
            (
                'server__encoding_unsupported', 'fail', asked.charset <> 'UTF8',
                array[asked.charset]
            ),
            ('server__models', 'ok', models.are_built, '{}'),
            ('server__no_models', 'info', not models.are_built, '{}'),
            ('server__may_create', 'ok', asked.may_create, array[asked.role]),
            (
                'server__may_not_create', models.missed, not asked.may_create,
                array[asked.role, asked.database]
            ),
            ('server__fuzzystrmatch', 'ok', extensions.is_installed, '{}'),
            (
                'server__fuzzystrmatch_available', 'ok',
                extensions.is_available and not extensions.is_installed and asked.may_create,
                '{}'
            ),
            (
                'server__fuzzystrmatch_forbidden', models.missed,
                extensions.is_available and not extensions.is_installed and not asked.may_create,
                array[asked.role]
            ),
            (
                'server__fuzzystrmatch_missing', models.missed,
                not extensions.is_available and not extensions.is_installed,
                '{}'
            )
        ) as outcomes (code, status, is_found, arguments)
    where asked.builds and outcomes.is_found
),

outcomes as (
    select * from server_outcomes
    union all
    select * from snapshot_outcomes
    union all
    select * from replica_outcomes
    union all
    select * from slot_outcomes
    union all
    select * from ledger_outcomes
    union all
    select * from building_outcomes
),

judged as (
    select
        outcomes.*,
        '' as subject,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample
    from outcomes
),

{{ finding_rows('server', server_words()) }}

select * from final;
