-- Named statements of `trueup bundle apply`: what writes, and the bundle that is made of it.
{%- if membership_settings().enabled %}
{%- set place = {'table': membership_settings().tables.member.table,
    'column': membership_settings().tables.member.id} %}
{%- set undo = [] %}
{%- for target in membership_targets() | reverse %}
{%- do undo.append('undo__' ~ target.table) %}
{%- endfor %}

{{ run_kind('import', {
    'words': {
        'title': 'Import', 'noun': 'import', 'done': 'written', 'promised': 'planned',
        'whole': 'It is one transaction: it is done or it is not. `trueup bundle apply` starts it'
            ~ ' anew.',
    },
    'rules': {
        'picked_by': ['cancel', 'status', 'verify', 'report', 'prune'],
        'checks': ['batch_tracking', 'images_agree'],
        'lock_timeout_ms': 5000,
        'statement_timeout_ms': 3600000,
    },
    'statements': {
        'begin': ['run__begin_images'],
        'change': [
            'membership__begin', 'membership__analyze', 'membership__lacking_columns',
            'membership__decide_tiers', 'membership__decide_members',
            'membership__decide_events', 'membership__decide_registrations',
            'membership__decide_mappings', 'membership__unknown_tiers', 'membership__store_batch',
            'membership__summary', 'membership__refused', 'membership__write',
            'membership__report',
        ],
    },
    'planning': {
        'check': ['membership__images_agree'],
        'check_undone': ['membership__images_agree'],
        'undo': undo,
    },
}) }}

-- name: membership__write(batch_id, lease_token)
-- All rows of an import, their images, what is refused, and the progress: one statement.
with {{ held_batch('$1', '$2', [
    'batches.schema_name', 'batches.table_name', 'batches.column_name',
]) }},

{{ membership_writes() }},

refused as (
    select
        decisions.reason,
        cast(decisions.record as text) as value_before,
        decisions.entity || ' row ' || decisions.source_row as row_key,
        decisions.entity || 's.csv' as source
    from membership_decisions as decisions
    where decisions.action = 'refuse'
),

{{ recorded_images(none, 'written_rows.unit', refused=true) }};

-- name: membership__report(run_id, started_at)
-- The bundle's migration-report.json of what was decided and written, as text.
{{ membership_report('$1', '$2') }}

{{ images_agree('membership', membership_targets(), place) }};
{%- endif %}
