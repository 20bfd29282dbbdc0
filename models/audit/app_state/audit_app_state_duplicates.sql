-- Rows of user_app_state that are not the only one of their user.
with source_rows as (
    select * from {{ source('app_state', 'user_app_state') }}
),

{{ app_state_ranked_rows() }},

final as (
    select
        ranked_rows.row_id,
        ranked_rows.updated_at,
        ranked_rows.row_total,
        nullif(ranked_rows.user_id, '') as user_id,
        case
            when ranked_rows.user_id = '' then 'no user'
            when ranked_rows.place = 1 then 'newest'
            else 'older'
        end as standing
    from ranked_rows
    where
        ranked_rows.row_total > 1
        or ranked_rows.user_id = ''
)

select * from final
