{#-
    The records of an entity in a bundle, as the CTE `records`; no comma at the end.
    membership_records('member', '$1') →
        records(entity, source_id, target_id, action, record) as (...)
    report: the bundle's migration-report.json, as SQL
-#}
{%- macro membership_records(entity, report) -%}
records as {{ trueup.computed_once() }} (
    select
        '{{ entity }}' as entity,
        listed.record ->> '_waId' as source_id,
        listed.record,
        listed.record ->> '_action' as action,
        {{ trueup.membership_id("(listed.record ->> '_targetId')") | indent(8) }} as target_id
    from
        jsonb_array_elements(
            coalesce(cast({{ report }} as jsonb) #> '{ {{- entity }}s,records}', '[]')
        ) as listed (record)
)
{%- endmacro -%}
