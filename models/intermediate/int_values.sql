-- What does each distinct raw value mean? One row per value; decided here and nowhere else. The
-- key of a value is its text with case, accents, dashes and spaces folded away.
with value_counts as (
    select * from {{ ref('int_value_counts') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

observed_values as (
    select
        value_counts.vocabulary,
        value_counts.raw_value,
        sum(value_counts.row_count) as row_count,
        min(value_counts.first_seen_at) as first_seen_at,
        max(value_counts.last_seen_at) as last_seen_at
    from value_counts
    group by
        value_counts.vocabulary,
        value_counts.raw_value
),

{{ resolve('observed_values') }},

final as (
    select
        resolved_values.vocabulary,
        resolved_values.raw_value,
        resolved_values.text_key,
        resolved_values.bare_key,
        resolved_values.resolution,
        resolved_values.canonical_value,
        resolved_values.matched_alias,
        cast(resolved_values.row_count as bigint) as row_count,
        resolved_values.first_seen_at,
        resolved_values.last_seen_at
    from resolved_values
)

select * from final
