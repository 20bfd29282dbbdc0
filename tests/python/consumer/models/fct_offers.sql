with offers as (
    select * from {{ ref('stg_crm__offers') }}
),

stage_values as (
    select * from {{ ref('trueup', 'int_values') }}
    where vocabulary = 'stage'
)

select
    offers.offer_code,
    {{ trueup.resolved_columns('offers', 'round_name', 'stage_values') | indent(4) }}
from offers
left join stage_values
    on offers.round_name = stage_values.raw_value
