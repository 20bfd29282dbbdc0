-- One row per company: the stage at which the fund entered and the stage it has reached, each as
-- the application stores it (_raw), as canonical value, and how it was understood (_resolution).
with companies as (
    select * from {{ ref('stg_app__portfoliocompanies') }}
),

int_values as (
    select * from {{ ref('int_values') }}
),

-- int_values decides what a spelling means; here it is only looked up
stage_values as {{ read_in_place() }} (
    select * from int_values
    where int_values.vocabulary = 'stage'
),

company_stages as (
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
),

final as (
    {%- if is_incremental() %}
    -- only rows that are new or different in this table
    {{ changed_rows('company_stages', this, 'company_id', model.columns) | indent(4) }}
    {%- else %}
    select * from company_stages
    {%- endif %}
)

select * from final
