-- One row per canonical stage, with its label and its place in the order.
with canonical_values as (
    select * from {{ ref('stages') }}
),

final as (
    select
        canonical_values.canonical_value as stage,
        canonical_values.label,
        canonical_values.sort_rank,
        canonical_values.description
    from canonical_values
)

select * from final
