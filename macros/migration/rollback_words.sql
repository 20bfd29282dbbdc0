{#-
    Why `trueup rollback` refuses, in words: [code, name, message, remedy], as finding_rows() takes
    them. The arguments: the run, then what is named.
    rollback_words() → [['never_started', 'Never started', 'run %1$s was never ...', ...], ...]
-#}
{%- macro rollback_words() -%}
    {%- set once = '; only a closed run can be rolled back' -%}
    {%- set cancel = '`trueup cancel %1$s` closes it and keeps its changes; then'
        ~ ' `trueup rollback %1$s`.' -%}
    {{- return([
        ['never_started', 'Never started',
         'run %1$s was never started: there is nothing to roll back',
         '`trueup cancel %1$s` closes it.'],
        ['still_held', 'Still at work', '%2$s works on run %1$s' ~ once, cancel],
        ['still_open', 'May be resumed', 'run %1$s is %2$s and may be resumed' ~ once, cancel],
        ['never_undone', 'No way back', 'run %1$s is of kind %2$s, which is never rolled back',
         none],
        ['unknown_table', 'Unknown table',
         '--table %2$s is not in run %1$s; allowed: %3$s', none],
        ['unknown_column', 'Unknown column',
         '--column %2$s is not in run %1$s; allowed: %3$s', none],
        ['no_such_column', 'Unknown column', 'run %1$s has no column named %2$s in %3$s', none],
        ['unknown_batch', 'Unknown batch', '--batch %2$s is not a batch of run %1$s',
         'The view stage_normalization_log has the batch of every changed row.'],
        ['batch_elsewhere', 'Batch out of scope',
         '--batch %2$s of %3$s is not in scope', none],
        ['guarded', 'Guarded',
         '%2$s is guarded in mode %3$s, so the old values could not be written',
         'Lower its mode first:\ntrueup mode set %2$s warn --no-write-only'
         ~ ' --reason "rollback of %1$s"'],
        ['sealed', 'Sealed', '%2$s is sealed, so the old values could not be written',
         'Let the owner of the table drop its guard first:\ntrueup guard drop %2$s'
         ~ ' --reason "rollback of %1$s"'],
    ]) -}}
{%- endmacro -%}
