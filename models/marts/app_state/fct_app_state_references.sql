-- One row per reference of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('references') }},

final as (
    select * from references_rows
)

select * from final
