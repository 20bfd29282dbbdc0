-- One row per investment: its round as the application stores it (_raw), as canonical value, and
-- how it was understood (_resolution).
with investments as (
    select * from {{ ref('stg_app__investments') }}
),

int_values as (
    select * from {{ ref('int_values') }}
),

-- int_values decides what a spelling means; here it is only looked up
stage_values as (
    select * from int_values
    where int_values.vocabulary = 'stage'
),

investment_rounds as (
    select
        investments.id as investment_id,
        investments.fund_id,
        investments.company_id,
        {{ resolved_columns('investments', 'round', 'stage_values') | indent(8) }},
        investments.updated_at
    from investments
    left join stage_values
        on investments.round = stage_values.raw_value
),

final as (
    {%- if is_incremental() %}
    -- only rows that are new or different in this table
    {{ changed_rows('investment_rounds', this, 'investment_id', model.columns) | indent(4) }}
    {%- else %}
    select * from investment_rounds
    {%- endif %}
)

select * from final
