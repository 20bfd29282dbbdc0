with organisations as (
    select * from {{ ref('stg_crm__organisations') }}
),

stage_values as (
    select * from {{ ref('trueup', 'int_values') }}
    where vocabulary = 'stage'
),

organisation_stages as (
    select
        organisations.org_uid as organisation_uid,
        organisations.workspace,
        organisations.display_name,
        {{ trueup.resolved_columns('organisations', 'funding_stage', 'stage_values') | indent(8) }},
        organisations.modified_at
    from organisations
    left join stage_values
        on organisations.funding_stage = stage_values.raw_value
)

{%- if is_incremental() %}

{{ trueup.changed_rows('organisation_stages', this, 'organisation_uid', model.columns) }}
{%- else %}

select * from organisation_stages
{%- endif %}
