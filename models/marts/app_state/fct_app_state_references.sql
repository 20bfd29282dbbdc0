-- One row per reference of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('references') }},

final as (
    select
{%- for column in app_state_columns('references') %}
        references_rows.{{ quoted(column) }}{{ ',' if not loop.last }}
{%- endfor %}
    from references_rows
)

select * from final
