with investments as {{ read_in_place() }} (
    select * from {{ ref('stg_app__investments') }}
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

{{ due_keys('investments', managed_columns('fct_investment_rounds')) }}
{% endif %}
final as (
    select
        investments.id as investment_id,
        investments.fund_id,
        investments.company_id,
        {{ resolved_columns('investments', 'round', 'stage_values') | indent(8) }},
        investments.updated_at
    from investments
    left join stage_values
        on investments.round = stage_values.raw_value
    {%- if is_incremental() %}
    inner join due_keys
        on investments.id = due_keys.investment_id
    {%- endif %}
)

select * from final
