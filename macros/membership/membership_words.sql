{#-
    The words of the checks of a bundle in their order, {code: [name, {status: sentence}, remedy]}.
    A status with a second word is an outcome of its own: 'fail differs'. The sentences are read by
    format(); %1$s, %2$s, ... are what the statement of the check gives.
-#}
{%- macro membership_words() -%}
{%- set count_remedy = 'Compare the listed records with the errors of the bundle, and look for'
    ~ ' addresses that two records share. Import again with corrected files if needed.' -%}
{{ return({
    'member_count': ['Member Count', {
        'ok': 'Member count matches: %1$s',
        'fail': 'Member count mismatch: expected %1$s, got %2$s (diff: %3$s)',
    }, count_remedy],
    'event_count': ['Event Count', {
        'ok': 'Event count matches: %1$s',
        'fail': 'Event count mismatch: expected %1$s, got %2$s (diff: %3$s)',
    }, 'Review the errors of the event import.'],
    'registration_count': ['Registration Count', {
        'ok': 'Registration count matches: %1$s',
        'fail': 'Registration count mismatch: expected %1$s, got %2$s (diff: %3$s)',
    }, 'Check the id mappings of members and events.'],
    'tier_distribution': ['Tier Distribution', {
        'ok': 'Tier distribution: %1$s',
        'info': 'Tier distribution: there is no member to compare',
        'warn': "Warning: All members in tier '%2$s' - verify mapping",
        'fail none': 'Tier distribution: no member has a tier',
        'fail differs': 'Tier distribution: %3$s members have another tier than their level gives',
    }, 'Check the tier mapping: does it have all levels of the source, and is _default used for'
       ~ ' too many? Then import again, which updates the tiers.'],
    'tier_coverage': ['Tier Coverage', {
        'ok': 'Tier coverage: %1$s%% (%2$s/%3$s)',
        'info': 'Tier coverage: there is no member to compare',
        'warn': 'Low tier coverage: %1$s%% - %4$s members without tier',
        'fail': 'Low tier coverage: %1$s%% - %4$s members without tier',
    }, 'Check that the tiers were seeded and that the mapping has every level of the source.'],
    'orphaned_registrations': ['Orphaned Registrations', {
        'ok': 'No orphaned registrations found',
        'fail': 'Orphaned registrations found: %1$s',
    }, 'Do not mend this by hand. Document it and escalate; then review the foreign keys.'],
    'duplicate_id_mappings': ['Duplicate ID Mappings', {
        'ok': 'No duplicate ID mappings found',
        'fail': 'Duplicate ID mappings found: %1$s',
    }, 'Do not mend this by hand. Document it and escalate; look for runs that were repeated'
       ~ ' without a clean-up, and for addresses that differ in case only.'],
    'run_id_match': ['Run ID Match', {
        'ok': 'Run ID matches: %1$s',
        'info': 'Run ID %1$s wrote nothing, so no row names it',
        'fail': 'Run ID mismatch: expected %1$s, found %2$s',
    }, 'This may be the bundle of another run: verify the newest one.'],
    'field_values': ['Field Values', {
        'ok': 'Field values match: %1$s records',
        'info': 'Field values: there is no record to compare',
        'fail': 'Field values differ: %2$s of %1$s records',
    }, 'Look at the listed records: a row that was edited after the import differs rightly; a'
       ~ ' shifted column or a wrong date is a fault of the import.'],
    'policies': ['Policies', {
        'ok': 'Policies match: %1$s',
        'info': 'Policies: the bundle has none',
        'fail': 'Policies differ: %2$s of %1$s',
    }, 'Set the listed policies as they were captured, and fill in those that are templates.'],
}) }}
{%- endmacro -%}
