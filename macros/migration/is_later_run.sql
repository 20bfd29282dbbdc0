{#-
    May a run have changed rows after another one did? By the growing numbers of the audit's
    entries, not by a clock; a run that has not ended may still do it.
    is_later_run('runs', 'reverted_runs.run_id') → a condition on runs
-#}
{%- macro is_later_run(runs, run_id) -%}
(
    {{ runs }}.finished_at is null
    or exists (
        select 1 as found
        from {{ ref('stage_normalization_changes') }} as later
        where
            later.run_id = {{ runs }}.run_id
            and later.entry_id > (
                select min(own.entry_id) as entry_id
                from {{ ref('stage_normalization_changes') }} as own
                where own.run_id = {{ run_id }}
            )
    )
)
{%- endmacro -%}
