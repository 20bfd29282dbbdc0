with deals as {{ read_in_place() }} (
    select * from {{ ref('stg_app__deal_opportunities') }}
),

int_values as (
    select * from {{ ref('int_values') }}
),

stage_values as (
    select * from int_values
    where int_values.vocabulary = 'stage'
),
{% if is_incremental() %}
built_rows as {{ read_in_place() }} (
    select * from {{ this }}
),

{{ due_keys('deals', managed_columns('fct_deal_stages')) }}
{% endif %}
final as (
    select
        deals.id as deal_id,
        deals.fund_id,
        deals.company_name,
        {{ resolved_columns('deals', 'stage', 'stage_values') | indent(8) }},
        deals.updated_at
    from deals
    left join stage_values
        on deals.stage = stage_values.raw_value
    {%- if is_incremental() %}
    inner join due_keys
        on deals.id = due_keys.deal_id
    {%- endif %}
)

select * from final
