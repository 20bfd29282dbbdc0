{#-
    The words for findings of the guard, as [code, name, message, remedy]: see finding_rows().
    guard__findings, guard__set_mode and guard__environment say what the arguments are.
-#}
{%- macro guard_words() -%}
{{ return([
    ['guard__not_managed', 'guard', 'is guarded, but no longer in managed_columns',
     'Drop its guard:\ntrueup guard drop %1$s'],
    ['guard__other_objects', 'guard',
     'its triggers or its CHECK are not those that were installed',
     'Install them again:\ntrueup guard %6$s %1$s'],
    ['guard__other_values', 'guard', 'accepts %5$s; the seed has %4$s',
     'Install the values of the seed:\ntrueup guard %6$s %1$s'],
    ['guard__other_keys', 'guard', '%3$s spellings were decided otherwise since it was installed',
     'Install them:\ntrueup guard %6$s %1$s'],
    ['guard__other_policy', 'guard', 'treats NULL or blank otherwise than managed_columns says',
     'Install it again:\ntrueup guard %6$s %1$s'],
    ['guard__other_mode', 'guard', 'its triggers are not yet those of its mode',
     'Let the owner of the table install them:\ntrueup guard install %1$s'],
    ['guard__in_force', 'guard', '%2$s objects as they were installed', none],
    ['guard__tick_late', 'counting', 'last counted: %2$s; refusals are not known',
     'Count once a minute, by any scheduler:\ntrueup guard tick'],
    ['guard__mode_is_set', 'mode', 'is now %1$s (version %2$s)', none],
    ['guard__unknown_scope', 'mode', 'has no guard, and is no endpoint of rollout.endpoints',
     'Install its guard first:\ntrueup guard install %4$s'],
    ['guard__unknown_mode', 'mode', '%1$s is no mode of it',
     'Allowed: off, warn, enforce, for a column also normalize. `trueup guard seal` seals one.'],
    ['guard__wrong_percent', 'mode', 'the percent must be above 0 and at most 100', none],
    ['guard__old_version', 'mode', 'its mode was changed meanwhile: version %2$s, not %3$s',
     'Look at it, then decide again:\ntrueup mode get %4$s'],
    ['guard__not_sealed', 'mode', 'has no valid CHECK', 'Seal it:\ntrueup guard seal %4$s'],
    ['guard__still_sealed', 'mode', 'is sealed by a CHECK, which no mode switches off',
     'Let the owner of the table drop the guard:\ntrueup guard drop %4$s'],
    ['guard__upgrade', 'mode', '%1$s would interfere more than now',
     'Say why, and that no gate is asked:\ntrueup mode set %4$s ... --override --reason TEXT'],
    ['guard__wrong_variable', 'environment', '%1$s is %2$s; allowed: %3$s', 'Correct it.'],
    ['guard__variable_differs', 'environment',
     '%1$s is %2$s, but the recorded mode says %3$s, and that one holds',
     'Unset the variable, or change the mode:\ntrueup mode set %4$s ...'],
]) }}
{%- endmacro -%}
