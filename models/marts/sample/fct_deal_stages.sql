-- One row per deal: the stage of the round on offer as the application stores it (_raw), as
-- canonical value, and how it was understood (_resolution).
with deals as (
    select * from {{ ref('stg_app__deal_opportunities') }}
),

int_values as (
    select * from {{ ref('int_values') }}
),

-- int_values decides what a spelling means; here it is only looked up
stage_values as (
    select * from int_values
    where int_values.vocabulary = 'stage'
),

deal_stages as (
    select
        deals.id as deal_id,
        deals.fund_id,
        deals.company_name,
        {{ resolved_columns('deals', 'stage', 'stage_values') | indent(8) }},
        deals.updated_at
    from deals
    left join stage_values
        on deals.stage = stage_values.raw_value
),

final as (
    {%- if is_incremental() %}
    -- only rows that are new or different in this table
    {{ changed_rows('deal_stages', this, 'deal_id', model.columns) | indent(4) }}
    {%- else %}
    select * from deal_stages
    {%- endif %}
)

select * from final
