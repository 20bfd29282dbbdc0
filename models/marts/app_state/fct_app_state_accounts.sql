-- One row per account of a persona on a platform of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('accounts') }},

final as (
    select * from accounts_rows
)

select * from final
