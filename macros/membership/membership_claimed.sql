{#-
    The rows that a bundle claims, each once, and whether they are there, as the CTE `claimed`; no
    comma at the end. Expects the CTE of membership_records().
    membership_claimed('member') → claimed(target_id, source_id, record_total, is_present) as (...)
-#}
{%- macro membership_claimed(entity) -%}
targets as (
    select
        records.target_id,
        min(records.source_id) as source_id
    from records
    where records.target_id is not null
    group by records.target_id
),

claimed as (
    select
        targets.target_id,
        targets.source_id,
        {{ trueup.membership_column(entity, 'id', 'application') }} is not null as is_present
    from targets
    left join {{ trueup.membership_table(entity) }} as application
        on
            targets.target_id
            = cast({{ trueup.membership_column(entity, 'id', 'application') }} as text)
)
{%- endmacro -%}
