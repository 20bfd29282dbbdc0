{#-
    The ids that earlier imports have given to rows that are still there, as the CTE `mapped`; no
    comma at the end.
    membership_mapped('member')          → mapped(source_id, target_id) as (...)
    membership_mapped('event', 'events') → events(source_id, target_id) as (...)
-#}
{%- macro membership_mapped(entity, name='mapped') -%}
{{ name }} as (
    select
        cast({{ trueup.membership_column('mapping', 'waId', 'mappings') }} as text) as source_id,
        cast({{ trueup.membership_column('mapping', 'targetId', 'mappings') }} as text) as target_id
    from {{ trueup.membership_table('mapping') }} as mappings
    inner join {{ trueup.membership_table(entity) }} as application
        on
            cast({{ trueup.membership_column('mapping', 'targetId', 'mappings') }} as text)
            = cast({{ trueup.membership_column(entity, 'id', 'application') }} as text)
    where
        cast({{ trueup.membership_column('mapping', 'entityType', 'mappings') }} as text)
        = '{{ entity }}'
)
{%- endmacro -%}
