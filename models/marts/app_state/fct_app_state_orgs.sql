-- One row per organisation of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_rows('orgs') }},

final as (
    select * from orgs_rows
)

select * from final
