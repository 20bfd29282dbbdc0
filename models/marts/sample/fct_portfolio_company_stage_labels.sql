-- One row per company with the labels of its stages and the ranks to order by.
with company_stages as (
    select * from {{ ref('fct_portfolio_company_stages') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

final as (
    select
        company_stages.company_id,
        company_stages.fund_id,
        company_stages.company_name,
        stages.label as stage_label,
        stages.sort_rank as stage_rank,
        current_stages.label as current_stage_label,
        current_stages.sort_rank as current_stage_rank
    from company_stages
    left join stages
        on company_stages.stage = stages.stage
    left join stages as current_stages
        on company_stages.current_stage = current_stages.stage
)

select * from final
