-- The application's strategies, each with a document {name of a stage: weight}.
with source_rows as (
    select * from {{ source('sample', 'fund_strategy_models') }}
),

final as (
    select
        source_rows.id,
        source_rows.fund_id,
        source_rows.name as strategy_name,
        source_rows.stage_allocation,
        source_rows.updated_at
    from source_rows
)

select * from final
