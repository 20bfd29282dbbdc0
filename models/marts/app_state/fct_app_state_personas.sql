-- One row per persona of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('personas') }},

final as (
    select * from personas_rows
)

select * from final
