{#-
    The last CTE and the answer of a check of `trueup verify` about documents: one row. $2: most
    offenders.
    app_state_answer('round_trip', 'documents') expects the CTEs offenders(user_id, status, message)
    and totals(looked_at). what: what was counted.
-#}
{%- macro app_state_answer(code, what) -%}
listed_offenders as (
    select
        offenders.*,
        row_number() over (
            order by
                offenders.status asc,
                offenders.user_id asc,
                offenders.message asc
        ) as place
    from offenders
),

final as (
    select
        '{{ code }}' as code,
        case
            when bool_or(listed_offenders.status = 'fail') then 'fail'
            when bool_or(listed_offenders.status = 'warn') then 'warn'
            else 'ok'
        end as status,
        coalesce(max(totals.looked_at), 0) || ' {{ what }}' as expected,
        coalesce(max(totals.looked_at), 0) || ' {{ what }}' || case
            when count(listed_offenders.place) > 0
                then ', ' || count(listed_offenders.place) || ' to look at'
            else ''
        end as found,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', listed_offenders.status,
                    'message', listed_offenders.message,
                    'table_name', 'user_app_state',
                    'column_name', 'state',
                    'row_key', listed_offenders.user_id
                )
                order by listed_offenders.place
            ) filter (where listed_offenders.place <= $2),
            '[]'
        ) as sample,
        count(listed_offenders.place) as rows
    from totals
    left join listed_offenders on true
)

select * from final
{%- endmacro -%}
