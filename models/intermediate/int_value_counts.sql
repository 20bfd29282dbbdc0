-- How often does each raw value occur in each column, by tenant? The only pass over the
-- application's tables: all later counts are taken from here.
with observations as (
    select * from {{ ref('int_value_observations') }}
),
{%- if managed_documents() %}

stage_weights as (
    select * from {{ ref('int_stage_weights') }}
),
{%- endif %}

observed_values as (
    select
        observations.table_name,
        observations.column_name,
        observations.vocabulary,
        observations.tenant,
        observations.raw_value,
        observations.row_key,
        observations.updated_at
    from observations
    {%- if managed_documents() %}
    union all
    select
        stage_weights.owner_table as table_name,
        stage_weights.owner_column as column_name,
        stage_weights.vocabulary,
        stage_weights.tenant,
        stage_weights.stage_name as raw_value,
        stage_weights.owner_key as row_key,
        stage_weights.updated_at
    from stage_weights
    {%- endif %}
),

final as (
    select
        observed_values.table_name,
        observed_values.column_name,
        observed_values.vocabulary,
        observed_values.tenant,
        observed_values.raw_value,
        count(*) as row_count,
        min(observed_values.row_key) as sample_key,
        min(observed_values.updated_at) as first_seen_at,
        max(observed_values.updated_at) as last_seen_at
    from observed_values
    group by
        observed_values.table_name,
        observed_values.column_name,
        observed_values.vocabulary,
        observed_values.tenant,
        observed_values.raw_value
)

select * from final
