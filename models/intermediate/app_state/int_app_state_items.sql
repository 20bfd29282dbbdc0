-- Every element of the arrays of the documents: its id there, and the id that its row has.
with documents as (
    select * from {{ ref('stg_app_state__user_app_state') }}
),

{{ app_state_items() }},

final as (
    select
        items.user_id,
        items.entity,
        items.source_position,
        items.source_id,
        items.target_id,
        items.has_id,
        items.reason,
        items.item
    from items
)

select * from final
