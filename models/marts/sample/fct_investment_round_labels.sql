-- One row per investment with the label of its round and the rank to order by.
with investment_rounds as (
    select * from {{ ref('fct_investment_rounds') }}
),

stages as (
    select * from {{ ref('dim_stages') }}
),

final as (
    select
        investment_rounds.investment_id,
        investment_rounds.fund_id,
        investment_rounds.company_id,
        stages.label as round_label,
        stages.sort_rank as round_rank
    from investment_rounds
    left join stages
        on investment_rounds.round = stages.stage
)

select * from final
