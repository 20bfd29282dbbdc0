{#-
    The words for findings about a managed column and its table, as [code, name, message, remedy]:
    see finding_rows(). tables__findings says what the arguments are.
-#}
{%- macro table_words() -%}
{%- set try = 'Try it on one tenant first:\ntrueup plan --tenant ID' -%}
{%- set refused = 'Otherwise these rows stay as they are, in quarantine: apply ends with exit'
    ~ ' code 1, and stops at more than --max-quarantined.' -%}
{{ return([
    [
        'table__missing', 'table', 'there is no table %1$s in database %2$s',
        'Correct dbt_project.yml; `trueup demo` makes a sample.',
    ],
    [
        'table__no_column', 'column', '%1$s has no column %3$s; it has %4$s',
        'Correct managed_columns in dbt_project.yml.',
    ],
    [
        'table__other_key', 'key', 'the primary key of %1$s is (%5$s), not (%6$s)',
        'Correct key in managed_columns, or add the key:\nalter table %7$s add primary key (%8$s);',
    ],
    [
        'table__other_key_type', 'key', 'key %9$s is %10$s, not %11$s',
        'Correct its type in managed_columns.',
    ],
    [
        'table__no_document', 'type', 'is %12$s; a document is jsonb',
        'Name a jsonb column in managed_documents.',
    ],
    [
        'table__no_text', 'type', 'is %12$s; only text can be managed',
        'Name a text column in managed_columns.',
    ],
    ['table__column', 'column', '%1$s, key %2$s', none],
    [
        'table__schema_forbidden', 'rights', 'role %1$s may not use schema %2$s',
        'Grant it:\ngrant usage on schema %2$s to %1$s;',
    ],
    [
        'table__select_forbidden', 'rights', 'role %1$s may not read %2$s',
        'Grant it:\ngrant select (%2$s) on %3$s to %1$s;',
    ],
    [
        'table__update_forbidden', 'rights', 'role %1$s may not update it',
        'Grant it:\ngrant update (%2$s) on %3$s to %1$s;',
    ],
    [
        'table__rows_hidden', 'row security',
        'row-level security may hide rows of %2$s from role %1$s',
        'Let the role see all rows:\nalter role %1$s bypassrls;',
    ],
    [
        'table__padded', 'type', 'is %1$s, which pads every value with spaces',
        'Change the type:\nalter table %2$s alter column %3$s type text;',
    ],
    [
        'table__enum', 'type', 'is the enum %1$s, which only accepts its own values',
        'Change the type:\nalter table %2$s alter column %3$s type text;',
    ],
    [
        'table__varchar_too_short', 'type',
        'is %1$s, at most %4$s characters; the longest value to write has %5$s',
        'Change the type:\nalter table %2$s alter column %3$s type varchar(%5$s);',
    ],
    [
        'table__domain_too_short', 'type',
        'is %1$s, at most %4$s characters; the longest value to write has %5$s',
        'Change the type:\nalter table %2$s alter column %3$s type text;',
    ],
    [
        'table__citext', 'type',
        'is citext, which ignores case; trueup compares byte by byte', none,
    ],
    [
        'table__collation', 'type',
        'is %1$s in the non-deterministic collation %2$s; trueup compares byte by byte', none,
    ],
    [
        'table__generated', 'column', 'is a %1$s generated column, which cannot be written',
        'Manage the column that it is computed from.',
    ],
    [
        'table__in_partition_key', 'column',
        'is part of the partition key; a change would move the row',
        'Leave this column to the models.',
    ],
    [
        'table__in_primary_key', 'column',
         'is part of the primary key; a change would move the row',
        'Leave this column to the models.',
    ],
    [
        'table__domain_checks', 'constraint', 'domain %1$s has checks that may refuse values: %2$s',
        try,
    ],
    ['table__constraint', 'constraint', '%1$s %2$s of %3$s may refuse values', try],
    [
        'table__not_valid', 'constraint',
        'constraint %1$s of %2$s is not valid: updates of old rows that violate it are refused'
        ~ ' (%3$s)',
        'Correct these rows before the run, then:\nalter table %2$s validate constraint %1$s;',
    ],
    [
        'table__uncounted_rule', 'constraint',
        'index %1$s may refuse new values, and the plan cannot count the rows', try,
    ],
    [
        'table__not_unique', 'constraint',
        'unique index %1$s will refuse %2$s of the planned rows: another row has the same new value'
        ~ ' (%3$s)',
        'Merge or delete the duplicates, and plan again. ' ~ refused,
    ],
    [
        'table__not_referenced', 'constraint',
        'foreign key %1$s will refuse %2$s of the planned rows: the referenced table lacks %3$s',
        'Insert what is missing, and plan again. ' ~ refused,
    ],
    ['table__generated_columns', 'column', 'generated columns change with it: %1$s', none],
    [
        'table__index', 'index', '%1$s: updates cannot be HOT',
        'Drop it for the run, if that is allowed:\ndrop index concurrently %2$s;',
    ],
    [
        'table__index_rule', 'index', '%1$s: updates cannot be HOT',
        'It is a rule of the application and stays. Expect more log and growth.',
    ],
    [
        'table__index_generated', 'index', '%1$s: updates cannot be HOT',
        'Expect more log and growth.',
    ],
    [
        'table__index_pending', 'index',
        '%1$s: updates cannot be HOT; the run uses it to find its rows',
        'Drop it after the run:\ndrop index concurrently %2$s;',
    ],
    [
        'table__index_useless', 'index',
        '%1$s: updates cannot be HOT, and no run can use it: it is incomplete, or made for an older'
        ~ ' vocabulary',
        'Drop it now:\ndrop index concurrently %2$s;',
    ],
    [
        'table__index_pays', 'index',
        '%1$s of %2$s rows need work: an index of them would spare the batches all other rows.'
        ~ ' Until it is dropped, updates of %3$s cannot be HOT',
        'Create it before the run, if that is worth it:\n%4$s',
    ],
    ['table__size', 'table', '%1$s, about %2$s rows, %3$s%4$s%5$s', none],
    ['table__size_unknown', 'table', '%1$s, number of rows not known, %3$s%4$s%5$s', none],
    [
        'table__no_table', 'table', 'is a %1$s; only a table can be changed in place',
        'Name its table in managed_columns.',
    ],
    [
        'table__inherited', 'table', 'tables inherit from it: %1$s; its key does not cover them',
        'End the inheritance:\nalter table %2$s no inherit %3$s;',
    ],
    ['table__inherits', 'table', 'inherits from %1$s, which shows its rows too', none],
    [
        'table__rules', 'rule', 'rules rewrite updates: %1$s',
        'Drop them:\ndrop rule %2$s on %3$s;',
    ],
    [
        'table__trigger_before', 'trigger',
        'trigger %1$s (%2$s) fires before update and may change other columns', try,
    ],
    [
        'table__trigger_sets', 'trigger', 'trigger %1$s (%2$s) fires before update and sets %3$s',
        try,
    ],
    [
        'table__trigger_row', 'trigger', 'trigger %1$s (%2$s) fires %4$s update, once per row',
        none,
    ],
    [
        'table__trigger_batch', 'trigger', 'trigger %1$s (%2$s) fires %4$s update, once per batch',
        none,
    ],
    [
        'table__index_by_trigger', 'index', '%1$s: updates cannot be HOT',
        'Expect more log and growth.',
    ],
    [
        'table__never_analyzed', 'statistics', 'never analyzed: %1$s',
        'Analyze it:\nanalyze %2$s;',
    ],
    [
        'table__no_identity', 'replication',
        'published by %1$s without a replica identity: updates are refused',
        'Name one:\nalter table %2$s replica identity default;',
    ],
    [
        'table__identity_dropped', 'replication',
        'published by %1$s, but the index of its replica identity was dropped: updates are refused',
        'Name another:\nalter table %2$s replica identity default;',
    ],
    [
        'table__publication_filter', 'replication',
        'the row filter of publication %1$s uses %2$s, which the replica identity lacks: updates'
        ~ ' are refused',
        'Let the owner of the publication change its filter, or the replica identity.',
    ],
    [
        'table__publication_columns', 'replication',
        'the column list of publication %1$s does not fit the replica identity (%2$s): updates'
        ~ ' are refused',
        'Let the owner of the publication change its column list, or the replica identity.',
    ],
    [
        'table__full_identity', 'replication',
        'published by %1$s with replica identity full: whole rows go to the log',
        'Name a smaller one:\nalter table %2$s replica identity default;',
    ],
    [
        'table__more_rights', 'rights', 'role %1$s may do more than a migration needs: %2$s',
        'Run as a role that may only select, and update the managed columns.',
    ],
    [
        'table__owner_rights', 'rights',
        'role %1$s may, as its owner, do more than a migration needs: %2$s',
        'Run as a role that may only select, and update the managed columns.',
    ],
    [
        'table__run_at_work', 'run', 'a runner works on run %1$s',
        'Wait until it has ended, or stop it:\ntrueup status\ntrueup cancel %1$s',
    ],
    [
        'table__run_unfinished', 'run',
        'run %1$s is %2$s and has changed %3$s: resume or cancel %1$s first',
        'Two runs of the same rows would each do a part:\ntrueup resume %1$s\ntrueup cancel %1$s',
    ],
    [
        'table__run_superseded', 'run',
        'this plan takes the place of run %1$s, which has changed nothing and is closed', none,
    ],
]) }}
{%- endmacro -%}
