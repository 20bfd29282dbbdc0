-- One row per organisation of a user, as the newest documents have it.
with items as (
    select * from {{ ref('int_app_state_items') }}
),

{{ app_state_item_ids() }},

{{ app_state_rows('orgs') }},

final as (
    select
{%- for column in app_state_columns('orgs') %}
        orgs_rows.{{ quoted(column) }}{{ ',' if not loop.last }}
{%- endfor %}
    from orgs_rows
)

select * from final
