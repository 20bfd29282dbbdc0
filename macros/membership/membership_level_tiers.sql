{#-
    The tier that each membership level of the source gets, as the CTE `level_tiers`; no comma at
    the end. The bundle's own map decides, then the vocabulary, then the map's `_default`.

    membership_level_tiers('$2') expects the CTE levels(level_name), each once; $2 is the bundle's
    migration-config.json or NULL. It defines, last,
        level_tiers(level_name, tier, decided_by): config, vocabulary, default, or NULL for no tier
-#}
{%- macro membership_level_tiers(config) -%}
observed_values as (
    select
        {{ trueup.literal(trueup.membership_settings().vocabulary) }} as vocabulary,
        levels.level_name as raw_value
    from levels
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

{{ trueup.resolve('observed_values') }},

mapped_levels as (
    select
        resolved_values.raw_value as level_name,
        resolved_values.canonical_value,
        cast({{ config }} as jsonb) -> 'tierMapping' ->> resolved_values.raw_value as mapped_tier,
        cast({{ config }} as jsonb) #>> '{tierMapping,_default}' as default_tier
    from resolved_values
),

level_tiers as (
    select
        mapped_levels.level_name,
        coalesce(
            mapped_levels.mapped_tier, mapped_levels.canonical_value, mapped_levels.default_tier
        ) as tier,
        case
            when mapped_levels.mapped_tier is not null then 'config'
            when mapped_levels.canonical_value is not null then 'vocabulary'
            when mapped_levels.default_tier is not null then 'default'
        end as decided_by
    from mapped_levels
)
{%- endmacro -%}
