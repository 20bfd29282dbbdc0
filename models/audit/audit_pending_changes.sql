-- Which cells of the application's tables would an in-place migration change now, and to what?
-- One row per cell. The values are resolved at the moment of reading, as int_values does it.
with observations as {{ read_in_place() }} (
    select * from {{ ref('int_value_observations') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

observed_values as (
    select
        observations.vocabulary,
        observations.raw_value
    from observations
    group by
        observations.vocabulary,
        observations.raw_value
),

{{ resolve('observed_values') }},

final as (
    select
        observations.table_name,
        observations.column_name,
        observations.vocabulary,
        observations.row_key,
        observations.tenant,
        observations.raw_value as value_before,
        resolved_values.canonical_value as value_after,
        resolved_values.resolution,
        resolved_values.matched_alias
    from observations
    inner join resolved_values
        on
            observations.vocabulary = resolved_values.vocabulary
            and observations.raw_value = resolved_values.raw_value
    where
        resolved_values.canonical_value is not null
        and observations.raw_value <> resolved_values.canonical_value
)

select * from final
