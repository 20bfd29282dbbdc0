{#-
    What to do if a check of `trueup verify` is not met, as [code, status, condition, sentence,
    commands]. All that apply are joined, in this order.

    status:    warn, fail or error; none for warn and fail
    condition: whether it applies, an SQL expression on `reasons` (why values are there) and
               `targets` (the run); none if always
    sentence, commands: read by format(): %1$s the short id of the run, %2$L its id, %3$s the
               command that goes on with it, %4$s which rows of the log to read,
               %5$s, %6$s and %7$s the relations of failed batches, of the log and of the audit
-#}
{%- macro verification_remedies() -%}
{%- set reread = 'trueup verify %1$s --verbose --output verification.html' -%}
{{ return([
    [
        'batch_tracking', none, none,
        'Read the reasons and fix the cause. Failed batches are tried again; rows that the database'
        ~ ' refused need a new plan.',
        ['select * from %5$s', '%3$s'],
    ],
    [
        'canonical_values', 'fail', none,
        'Planned rows still have an old spelling. Continue the run.',
        [],
    ],
    [
        'canonical_values', 'fail',
        'targets.is_unfinished\n                '
        ~ 'or not (reasons.is_since or reasons.is_undecided or reasons.is_restored)',
        none,
        ['%3$s'],
    ],
    [
        'canonical_values', none, 'reasons.is_since',
        'Old spellings were written after the plan was made. Make a new plan.',
        [],
    ],
    [
        'canonical_values', none, 'reasons.is_restored',
        'A rollback restored old spellings, as it was asked to. `trueup plan` would change them'
        ~ ' again.',
        [],
    ],
    [
        'canonical_values', none, 'reasons.is_undecided',
        'Decide on the undecided values, run `dbt build`, then make a new plan.',
        [
            'trueup unmapped --limit 0',
            'trueup alias add "TEXT" VALUE --reason "WHY"',
            'dbt build',
        ],
    ],
    [
        'canonical_values', none, 'reasons.is_since or reasons.is_undecided',
        none,
        ['trueup plan'],
    ],
    [
        'null_integrity', 'fail', none,
        'trueup writes no empty value, but no other program wrote these rows: look for a trigger.'
        ~ ' The audit shows the earlier values, and whether the run changed these rows.',
        ['select * from %6$s %4$s', reread],
    ],
    [
        'null_integrity', 'warn', none,
        'trueup writes neither NULL nor blank, so another program did. The audit shows the earlier'
        ~ ' values, and whether the run changed these rows. If nothing else is running, verify with'
        ~ ' --quiesced.',
        ['select * from %6$s %4$s', 'trueup verify %1$s --quiesced --verbose'],
    ],
    [
        'row_counts', 'fail', none,
        'trueup neither inserts nor deletes, so another program did. If nothing else was running,'
        ~ ' rows were lost; the backup has them.',
        ['trueup verify %1$s --quiesced --verbose'],
    ],
    [
        'row_counts', 'warn', none,
        'trueup neither inserts nor deletes, so another program does. If nothing else is running,'
        ~ ' verify with --quiesced.',
        ['trueup verify %1$s --quiesced --verbose'],
    ],
    [
        'audit_consistency', 'fail', none,
        'Ledger and tables contradict each other: the ledger was edited, or a row was written'
        ~ ' without its updated_at. Change nothing, save both reports, and compare with the'
        ~ ' backup.',
        [reread, 'trueup report %1$s --output failed.json'],
    ],
    [
        'audit_consistency', 'warn', none,
        'Users edited rows after the run. No action needed. A rollback would skip these rows and'
        ~ ' list them first.',
        [],
    ],
    [
        'audit_consistency', 'warn', 'targets.can_roll_back',
        none,
        ['trueup rollback %1$s --dry-run'],
    ],
    [
        'audit_consistency', 'warn', 'not targets.can_roll_back',
        none,
        [reread],
    ],
    [
        'weight_sums', none, none,
        'The application owns the weights: correct them there, then run `dbt build`.',
        ['dbt build', 'dbt test --select verification_weight_sums'],
    ],
    [
        'other_columns_untouched', none, none,
        'Another column changed together with the managed one, most likely by a trigger. Look at'
        ~ ' the rows. If that is intended, list the column in `kept_by_triggers`.',
        [
            'select batch_id, others_changed from %7$s'
            ~ " where run_id = %2$L and others_changed <> '{}'",
            reread,
        ],
    ],
    [
        'models_agree', none, none,
        'The marts were built with another vocabulary, or they were edited. Run `dbt build` and'
        ~ ' verify again. If the difference stays, the model is wrong.',
        ['dbt build', 'trueup verify %1$s'],
    ],
    [
        'array_lengths', 'fail', none,
        'Nobody has changed these rows, so items are missing. Take the run back, then plan again.',
        ['trueup rollback %1$s --dry-run', 'trueup app-state plan'],
    ],
    [
        'round_trip', 'fail', none,
        'Compare the document with what the tables give back.',
        ['select * from app_state_documents where user_id = ...'],
    ],
    [
        'round_trip', 'warn', none,
        'Documents or rows were changed since. A new run writes what is new in the documents.',
        ['trueup app-state plan'],
    ],
    [
        'dangling_parents', 'fail', none,
        'Rows refer to parents that are gone: a foreign key was dropped or switched off.',
        ['trueup app-state init'],
    ],
    [
        'images_agree', 'fail', none,
        'The audit lacks images, so the run cannot be taken back whole. Compare with the backup.',
        [],
    ],
    [
        none, 'error', none,
        'It could not be read, so it did not pass. Fix what the message names, then verify again.',
        ['trueup doctor', 'trueup verify %1$s'],
    ],
]) }}
{%- endmacro -%}
