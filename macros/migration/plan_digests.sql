{#-
    SHA-256 of what was decided in the plan of a run, as CTEs; no comma at the end. The one place
    that computes it, for the plan, which writes it down, and for what compares it later.

    plan_digests('$1') → decided_values as (...), plan_digests as (... plan_sha256)

    Options that do not say what becomes of a value may change after the plan.
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

plan_digests as (
    select
        {{ trueup.text_digest(trueup.list_text([
            'runs.kind',
            'runs.record',
            "runs.options - array['max_quarantined', 'compare_others', 'durability']"
            ~ "\n        - 'planned_snapshot'",
            'runs.vocabulary_version',
            'decided_values.value_list',
        ]) | indent(4)) | indent(8) }} as plan_sha256
    from {{ ref('migration_runs') }} as runs
    cross join decided_values
    where runs.run_id = {{ run_id }}
)
{%- endmacro -%}
