{#-
    A kind of run, as a named statement that answers with its record: what the runner, the commands
    and the pages read of it. A plan stores the record with the run. Nothing else knows the kinds.

    run_kind('migrate', {'words': {...}, 'rules': {...}, 'statements': {...}, 'planning': {...}}) →
        -- name: run_kind__migrate() ... , one row (record jsonb)

    words       what people read: `title` of a log line, `noun` in a question, `done` of a row,
                `promised` rows, `again`: what a row that was not changed needs, and `whole`: why it
                can be neither paused nor resumed
    rules       picked_by: commands that take the newest run of this kind if no RUN is given;
                checks: what `trueup verify` looks at;
                audit: the ledger's table that has the changes of its rows;
                restores: it takes another run back; undone_by: the kind of run that takes it back;
                by_keys: rows are found by a list of keys;
                by_unit: how many keys of a batch share a transaction (true: each has its own); if
                the database refuses one of them, it gets its own;
                reopens_by_key: `reopen` uses the index of the key, so it runs without the planner
                settings of a join;
                lock_timeout_ms, statement_timeout_ms: none are those of a migration, which stay
                below deadlock_timeout
    statements  by purpose, in the order in which they run. A plan stores them; a name stands for
                the statement of the run's column if that has one (purpose__table__column), and
                `brakes__*` for all that begin so:
                claim, keys (lists the keys of batches), keys_by_tenant (the same if batches are cut
                by tenant), begin (of each transaction), change (a piece of a batch), compare (in
                place of change, with --hash-others), compared (before that: why its list of columns
                is not up to date), left (rows that change has left as they were), tell
                (after a batch: lines for people),
                table (has_later_triggers, is_partitioned), confirm (after change, if it has such
                triggers), finish (a piece), refuse (a key), values (the map),
                remaining (values at the end), reopen (batches), conflicts (stores them), missed
                (rows), digest (of the audit), skip_to, versions (of the vocabularies), facts (about
                tables), pending_index, books
    planning    statements of the project that make the plan: plan, baselines, undo (what changes
                rows in a run that takes this one back), check (statements of `trueup verify`; the
                code of each follows `__` in its name), check_undone (the same of that run)

    What is left out has the default below. Trap: a name that no statement has is found when a plan
    is made.
-#}
{%- macro run_kind(name, record) -%}
    {%- set whole = {
        'words': {
            'title': name, 'noun': name, 'done': 'changed', 'promised': 'promised',
            'again': 'a new plan', 'whole': '',
        },
        'rules': {
            'picked_by': ['resume', 'pause', 'cancel', 'status', 'verify', 'report', 'prune'],
            'checks': ['batch_tracking'],
            'audit': 'migration_audit',
            'restores': false,
            'undone_by': 'undo',
            'by_unit': false,
            'by_keys': false,
            'reopens_by_key': false,
            'lock_timeout_ms': none,
            'statement_timeout_ms': none,
        },
        'statements': {
            'claim': ['run__claim_ranges'],
            'begin': ['run__begin_images'],
            'change': [],
            'compare': [],
            'compared': [],
            'left': [],
            'tell': [],
            'table': [],
            'confirm': [],
            'finish': ['run__finish_piece'],
            'keys': [],
            'keys_by_tenant': [],
            'refuse': ['run__quarantine_unit'],
            'values': [],
            'remaining': [],
            'reopen': [],
            'conflicts': [],
            'missed': [],
            'digest': ['run__note_image_digest'],
            'skip_to': [],
            'versions': [],
            'facts': [],
            'pending_index': [],
            'books': [
                'run__await_batches', 'run__batch_state', 'run__batch_totals',
                'run__begin_batch', 'run__begin_list', 'run__begin_reading', 'brakes__*',
                'run__close_batches', 'run__control_state', 'run__finish_piece',
                'run__flush_statistics',
                'run__lock_columns', 'run__note_brake', 'run__note_counters',
                'run__note_options', 'run__note_progress', 'run__other_runners',
                'run__plan_digest', 'run__release', 'run__renew_lease', 'run__reopen_failed',
                'run__columns', 'run__places', 'run__set_pace', 'run__set_status',
                'run__take_lease',
            ],
        },
        'planning': {'plan': [], 'baselines': [], 'undo': [], 'check': [], 'check_undone': []},
    } -%}
    {%- for part, entries in record.items() -%}
        {%- if part not in whole -%}
            {{- trueup.raise_wrong_input('run_kind ' ~ name, 'part', part, whole.keys()) -}}
        {%- endif -%}
        {%- for entry in entries if entry not in whole[part] -%}
            {{- trueup.raise_wrong_input(
                'run_kind ' ~ name, part, entry, whole[part].keys()
            ) -}}
        {%- endfor -%}
        {%- do whole[part].update(entries) -%}
    {%- endfor -%}
-- name: run_kind__{{ name }}()
-- A kind of run: its words, its rules, and its statements by purpose. A plan stores the answer.
with entries (part, name, value) as (
    values
    {%- for part, entries in whole.items() %}
    {%- for entry, value in entries.items() %}
    {%- set lines = trueup.long_literal(tojson(value)) %}
    (
        '{{ part }}',
        '{{ entry }}',
        {{ lines }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
    {{- ',' if not loop.last }}
    {%- endfor %}
),

parts as (
    select
        entries.part,
        jsonb_object_agg(entries.name, cast(entries.value as jsonb)) as entry_values
    from entries
    group by entries.part
)

select jsonb_object_agg(parts.part, parts.entry_values) as record
from parts;
{%- endmacro -%}
