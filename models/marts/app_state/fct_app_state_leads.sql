-- One row per lead of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('leads') }},

final as (
    select * from leads_rows
)

select * from final
