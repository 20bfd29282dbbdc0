{#-
    SHA-256 of what was decided in the plan of a run, as CTEs; no comma at the end. The one place
    that computes it, for the plan, which writes it down, and for what compares it later.

    plan_digests('$1') → decided_values as (...), plan_digests as (... plan_sha256)

    It covers the statements, what becomes of each value, the counts from before the run, and how
    many rows the batches are to change. Options that do not say what becomes of a value may change
    after the plan. Not the snapshot of the plan: two equal plans have one digest.
-#}
{%- macro plan_digests(run_id) -%}
decided_values as (
    select
        jsonb_agg(
            jsonb_build_array(
                value_map.table_name,
                value_map.column_name,
                value_map.map_id,
                value_map.value_before,
                value_map.value_after,
                value_map.match_type,
                value_map.rows_planned
            )
            order by
                {{ trueup.binary_text('value_map.table_name') }},
                {{ trueup.binary_text('value_map.column_name') }},
                {{ trueup.binary_text('value_map.value_before') }},
                value_map.map_id
        ) as value_list
    from {{ ref('migration_value_map') }} as value_map
    where value_map.run_id = {{ run_id }}
),

decided_counts as (
    select
        jsonb_agg(
            jsonb_build_array(
                baselines.table_name,
                baselines.column_name,
                baselines.tenant,
                baselines.rows,
                baselines.nulls,
                baselines.blanks,
                baselines.row_counts
            )
            order by
                {{ trueup.binary_text('baselines.table_name') }},
                {{ trueup.binary_text('baselines.column_name') }},
                {{ trueup.binary_text('baselines.tenant') }}
        ) as count_list
    from {{ ref('migration_baselines') }} as baselines
    where baselines.run_id = {{ run_id }}
),

cut_columns as (
    select
        batches.table_name,
        batches.column_name,
        sum(batches.rows_planned) as rows_planned
    from {{ ref('stage_migration_batches') }} as batches
    where batches.run_id = {{ run_id }}
    group by
        batches.table_name,
        batches.column_name
),

decided_columns as (
    select
        jsonb_agg(
            jsonb_build_array(
                control.table_name,
                control.column_name,
                control.range_end,
                cut_columns.rows_planned
            )
            order by
                {{ trueup.binary_text('control.table_name') }},
                {{ trueup.binary_text('control.column_name') }}
        ) as column_list
    from {{ ref('stage_migration_control') }} as control
    left join cut_columns
        on
            control.table_name = cut_columns.table_name
            and control.column_name = cut_columns.column_name
    where control.run_id = {{ run_id }}
),

plan_digests as (
    select
        {{ trueup.text_digest(trueup.list_text([
            'runs.kind',
            'runs.record',
            "runs.options - array['max_quarantined', 'compare_others', 'durability']"
            ~ "\n        - array['planned_snapshot', 'export']",
            'runs.vocabulary_version',
            'runs.sql_sha256',
            'decided_values.value_list',
            'decided_counts.count_list',
            'decided_columns.column_list',
        ]) | indent(4)) | indent(8) }} as plan_sha256
    from {{ ref('migration_runs') }} as runs
    cross join decided_values
    cross join decided_counts
    cross join decided_columns
    where runs.run_id = {{ run_id }}
)
{%- endmacro -%}
