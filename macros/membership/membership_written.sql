{#-
    What the bundle's run has created or updated, as the CTE
    `written(entity, source_id, target_id)`; no comma at the end.
    membership_written('$1') → written as (...)
-#}
{%- macro membership_written(report) -%}
written as {{ trueup.computed_once() }} (
    {%- for entity in ['member', 'event', 'registration'] %}
    select
        '{{ entity }}' as entity,
        listed.record ->> '_waId' as source_id,
        listed.record ->> '_targetId' as target_id
    from
        jsonb_array_elements(
            cast({{ report }} as jsonb) #> '{ {{- entity }}s,records}'
        ) as listed (record)
    where listed.record ->> '_action' in ('create', 'update')
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
