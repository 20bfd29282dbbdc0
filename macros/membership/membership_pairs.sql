{#-
    Which source became which target, as the CTE `pairs(entity, source_id, target_id)`, each pair
    once; no comma at the end. Of the bundle's records and id mapping, and of the database's table.
    membership_pairs('$1')                → pairs as (...)
    membership_pairs('$1', offline=true)  → of the bundle only
-#}
{%- macro membership_pairs(report, offline=false) -%}
pairs as {{ trueup.computed_once() }} (
    {%- for entity in ['member', 'event', 'registration'] %}
    select
        '{{ entity }}' as entity,
        listed.record ->> '_waId' as source_id,
        {{ trueup.membership_id("(listed.record ->> '_targetId')") | indent(8) }} as target_id
    from
        jsonb_array_elements(
            cast({{ report }} as jsonb) #> '{ {{- entity }}s,records}'
        ) as listed (record)
    union
    {%- endfor %}
    select
        mapped.entity,
        listed.record ->> 'waId' as source_id,
        {{ trueup.membership_id("(listed.record ->> 'targetId')") | indent(8) }} as target_id
    from (values ('member'), ('event')) as mapped (entity)
    cross join
        lateral jsonb_array_elements(
            coalesce(cast({{ report }} as jsonb) #> array['idMapping', mapped.entity || 's'], '[]')
        ) as listed (record)
    {%- if not offline %}
    union
    select
        cast({{ trueup.membership_column('mapping', 'entityType', 'mappings') }} as text) as entity,
        cast({{ trueup.membership_column('mapping', 'waId', 'mappings') }} as text) as source_id,
        cast({{ trueup.membership_column('mapping', 'targetId', 'mappings') }} as text) as target_id
    from {{ trueup.membership_table('mapping') }} as mappings
    {%- endif %}
)
{%- endmacro -%}
