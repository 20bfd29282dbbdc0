{#-
    The ids that earlier imports have given, as the CTE `mapped`; no comma at the end.
    membership_mapped('member') → mapped(source_id, target_id) as (...)
-#}
{%- macro membership_mapped(entity) -%}
mapped as (
    select
        cast({{ trueup.membership_column('mapping', 'waId', 'mappings') }} as text) as source_id,
        cast({{ trueup.membership_column('mapping', 'targetId', 'mappings') }} as text) as target_id
    from {{ trueup.membership_table('mapping') }} as mappings
    where
        cast({{ trueup.membership_column('mapping', 'entityType', 'mappings') }} as text)
        = '{{ entity }}'
)
{%- endmacro -%}
