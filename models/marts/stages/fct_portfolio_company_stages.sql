with companies as {{ read_in_place() }} (
    select * from {{ ref('stg_app__portfoliocompanies') }}
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

{{ due_keys('companies', managed_columns('fct_portfolio_company_stages')) }}
{% endif %}
final as (
    select
        companies.id as company_id,
        companies.fund_id,
        companies.company_name,
        {{ resolved_columns('companies', 'stage', 'stage_values') | indent(8) }},
        {{ resolved_columns('companies', 'current_stage', 'current_stage_values') | indent(8) }},
        companies.updated_at
    from companies
    left join stage_values
        on companies.stage = stage_values.raw_value
    left join stage_values as current_stage_values
        on companies.current_stage = current_stage_values.raw_value
    {%- if is_incremental() %}
    inner join due_keys
        on companies.id = due_keys.company_id
    {%- endif %}
)

select * from final
