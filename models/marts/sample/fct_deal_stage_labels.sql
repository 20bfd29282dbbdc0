-- One row per deal with the label of its stage and the rank to order by.
with deal_stages as (
    select * from {{ ref('fct_deal_stages') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

final as (
    select
        deal_stages.deal_id,
        deal_stages.fund_id,
        deal_stages.company_name,
        stages.label as stage_label,
        stages.sort_rank as stage_rank
    from deal_stages
    left join stages
        on deal_stages.stage = stages.stage
)

select * from final
