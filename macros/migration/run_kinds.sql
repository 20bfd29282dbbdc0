{#-
    The kinds of runs of an in-place migration, and the one that takes back what others have
    written to migration_audit; run_kind() says what a record holds. Other systems have their own.
    run_kinds() → {'migrate': {...}, 'rollback': {...}, 'undo': {...}}
-#}
{%- macro run_kinds() -%}
    {%- set of_columns = {
        'begin': [],
        'table': ['table_now'],
        'confirm': ['confirm_piece'],
        'finish': ['run__finish_changes'],
        'refuse': ['quarantine'],
        'values': ['run__value_map'],
        'digest': ['run__note_audit_digest'],
        'skip_to': ['skip_to'],
        'facts': ['server__findings', 'tables__findings'],
    } -%}
    {%- set checks = [
        'batch_tracking', 'null_integrity', 'row_counts', 'audit_consistency',
        'sample_inspection', 'per_fund_breakdown', 'weight_sums', 'other_columns_untouched',
        'models_agree',
    ] -%}
    {%- set asked = ['resume', 'pause', 'cancel', 'status', 'verify', 'report', 'prune'] -%}
    {{- return({
        'migrate': {
            'words': {'title': 'Migration', 'noun': 'run'},
            'rules': {
                'picked_by': ['apply'] + asked,
                'checks': ['canonical_values'] + checks,
                'audit': 'stage_normalization_changes',
                'by_keys': true,
                'undone_by': 'rollback',
                'reopens_by_key': true,
            },
            'statements': dict(
                of_columns,
                change=['apply_batch'],
                compare=['apply_batch_comparing'],
                compared=['tables__changed_columns'],
                left=['unchanged_rows'],
                keys=['keys_to_change'],
                keys_by_tenant=['keys_by_tenant'],
                remaining=['remaining_values'],
                reopen=['reopen_batches', 'add_batches'],
                missed=['missed_rows'],
                versions=['run__vocabulary_versions'],
                pending_index=['pending_index'],
            ),
            'planning': {'undo': ['revert_batch']},
        },
        'rollback': {
            'words': {
                'title': 'Rollback', 'noun': 'rollback', 'done': 'restored',
                'promised': 'restorable', 'again': 'a new rollback',
            },
            'rules': {
                'picked_by': asked,
                'checks': checks,
                'audit': 'stage_normalization_changes',
                'by_keys': true,
                'restores': true,
                'undone_by': 'rollback',
            },
            'statements': dict(
                of_columns,
                keys=['keys_to_revert'],
                reopen=['reopen_reverts'],
                conflicts=['store_conflicts'],
                missed=['unrestored_rows'],
            ),
            'planning': {'plan': ['plan_reverts'], 'baselines': ['revert_baselines']},
        },
        'undo': {
            'words': {
                'title': 'Rollback', 'noun': 'rollback', 'done': 'restored',
                'promised': 'restorable', 'again': 'a new rollback',
            },
            'rules': {
                'picked_by': asked, 'checks': ['batch_tracking', 'images_agree'],
                'restores': true, 'by_unit': true,
            },
            'statements': {
                'keys': ['run__keys_to_undo'],
                'reopen': ['reopen_undo'],
                'conflicts': ['store_image_conflicts'],
                'missed': ['rows_not_undone'],
            },
            'planning': {'plan': ['plan_undo']},
        },
    }) -}}
{%- endmacro -%}
