-- One row per item of the inbox of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('inbox_items') }},

final as (
    select * from inbox_items_rows
)

select * from final
