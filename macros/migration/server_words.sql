{#-
    The words for findings about the server, as [code, name, message, remedy]: see finding_rows().
    server__findings says what the arguments are.
-#}
{%- macro server_words() -%}
{{ return([
    ['server__version', 'version', 'PostgreSQL %1$s', none],
    [
        'server__version_unsupported', 'version', 'PostgreSQL %1$s is not supported',
        'Use PostgreSQL %2$s to %3$s.',
    ],
    ['server__writable', 'standby', 'a primary server, writable', none],
    ['server__read_only', 'standby', 'a read-only standby', 'Connect to the primary server.'],
    ['server__direct', 'pooler', 'none: connected to the server itself', none],
    [
        'server__pooled', 'pooler',
        'a pooler is in between; transaction pooling is enough', none,
    ],
    [
        'server__monitor', 'pg_monitor',
        'role %1$s sees other sessions and how far standbys are behind', none,
    ],
    [
        'server__no_monitor', 'pg_monitor',
        'role %1$s sees neither other sessions nor how far standbys are behind;'
        ~ ' no run starts without --allow-blind-brakes',
        'Let the role see them:\ngrant pg_monitor to %1$s;',
    ],
    ['server__timeouts', 'timeouts', 'deadlock_timeout %1$s ms', none],
    [
        'server__deadlock_timeout_short', 'timeouts',
        'deadlock_timeout %1$s ms is shorter than %2$s ms: a batch that waits may make the'
        ~ ' application the victim of a deadlock',
        "Raise it:\nalter database %3$s set deadlock_timeout = '1s';",
    ],
    [
        'server__statement_timeout_short', 'timeouts',
        'statement_timeout %1$s ms may end models and verification, which read whole tables',
        'Switch it off for this role:\nalter role %2$s set statement_timeout = 0;',
    ],
    ['server__no_old_snapshot', 'snapshots', 'none is old', none],
    [
        'server__transaction_old', 'snapshots',
        '%1$s keeps old row versions from being pruned',
        'End it, if it is not needed:\nselect pg_terminate_backend(%2$s);',
    ],
    [
        'server__transaction_unseen', 'snapshots',
        '%1$s may keep old row versions from being pruned',
        'Let the role see how old it is:\ngrant pg_monitor to %3$s;',
    ],
    [
        'server__prepared_old', 'snapshots',
        '%1$s keeps old row versions from being pruned',
        'Commit it or roll it back:\nrollback prepared %4$L;',
    ],
    [
        'server__slot_old', 'snapshots',
        '%1$s keeps old row versions from being pruned',
        'Drop it, if its reader does not come back:\nselect pg_drop_replication_slot(%4$L);',
    ],
    [
        'server__standby_old', 'snapshots',
        '%1$s keeps old row versions from being pruned',
        'End the oldest query of that standby.',
    ],
    [
        'server__snapshots_more', 'snapshots',
        '%1$s more keep old row versions from being pruned', none,
    ],
    [
        'server__run_waits', 'snapshots',
        'a run waits until no transaction is older than %1$s', none,
    ],
    ['server__standby_none', 'replicas', 'no standby is connected', none],
    ['server__standby_follows', 'replicas', '%1$s is %2$s, %3$s behind', none],
    [
        'server__standby_behind', 'replicas', '%1$s is %2$s, %3$s behind; a run waits',
        'Wait until it has caught up.',
    ],
    [
        'server__standby_unlimited', 'replicas',
        '%1$s is %2$s, %3$s behind; the brakes that would wait for it are switched off', none,
    ],
    ['server__standby_starting', 'replicas', '%1$s is not a standby yet (%4$s)', none],
    [
        'server__standby_unseen', 'replicas', 'the lag of %1$s cannot be seen',
        'Let the role see it:\ngrant pg_monitor to %5$s;',
    ],
    ['server__slots', 'slots', 'none of %1$s keeps more than %2$s of log', none],
    [
        'server__slots_unlimited', 'slots',
        'the brake that would wait for slots is switched off; there are %1$s', none,
    ],
    [
        'server__slot_behind', 'slots', 'slot %1$s (active) keeps %2$s of log; a run waits',
        'Wait until its reader has caught up.',
    ],
    [
        'server__slot_abandoned', 'slots', 'slot %1$s (inactive) keeps %2$s of log; a run waits',
        'Drop it, if its reader does not come back:\nselect pg_drop_replication_slot(%1$L);',
    ],
    ['server__ledger', 'ledger', 'schema %1$s', none],
    ['server__ledger_missing', 'ledger', 'no ledger in schema %1$s', 'Run `trueup ledger init`.'],
    [
        'server__ledger_incomplete', 'ledger', 'schema %1$s lacks %2$s',
        'Run `trueup ledger init`.',
    ],
    [
        'server__ledger_forbidden', 'ledger', 'role %2$s lacks rights in schema %1$s: %3$s',
        'Grant them:\ngrant usage on schema %1$s to %2$s;\n%4$s',
    ],
    ['server__encoding', 'encoding', '%1$s', none],
    [
        'server__encoding_unsupported', 'encoding', '%1$s; only UTF8 is supported',
        "Create the database with encoding 'UTF8' template template0.",
    ],
    ['server__models', 'models', 'built', none],
    ['server__no_models', 'models', 'not built yet', 'Run `dbt build`.'],
    ['server__may_create', 'rights', 'role %1$s may create schemas here', none],
    [
        'server__may_not_create', 'rights', 'role %1$s may not create schemas here',
        'Let the role that builds create them:\ngrant create on database %2$s to %1$s;',
    ],
    ['server__fuzzystrmatch', 'fuzzystrmatch', 'the extension is installed', none],
    [
        'server__fuzzystrmatch_available', 'fuzzystrmatch',
        'the extension is available, and `dbt build` installs it', none,
    ],
    [
        'server__fuzzystrmatch_forbidden', 'fuzzystrmatch',
        'the extension is not installed, and role %1$s may not install it',
        'Install it as a role that may:\ncreate extension fuzzystrmatch;',
    ],
    [
        'server__fuzzystrmatch_missing', 'fuzzystrmatch',
        'the extension is not on this server', "Install the server's contrib package.",
    ],
]) }}
{%- endmacro -%}
