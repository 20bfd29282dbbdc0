-- The application's baselines, each with a document {name of a stage: weight}.
with source_rows as (
    select * from {{ source('sample', 'fund_baselines') }}
),

final as (
    select
        source_rows.id,
        source_rows.fund_id,
        source_rows.stage_distribution,
        source_rows.updated_at
    from source_rows
)

select * from final
