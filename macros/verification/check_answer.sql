{#-
    The last CTE and the answer of a check of `trueup verify` about a run that writes whole rows:
    one row. $2: most offenders.
    check_answer('round_trip', 'documents', {'table': 'user_app_state', 'column': 'state'}) expects
    the CTEs offenders(row_key, status, message) and totals(looked_at). what: what was counted;
    place: the table and column that the run stands under in the ledger.
-#}
{%- macro check_answer(code, what, place) -%}
listed_offenders as (
    select
        offenders.*,
        row_number() over (
            order by
                offenders.status asc,
                offenders.row_key asc,
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
                    'table_name', {{ trueup.literal(place.table) }},
                    'column_name', {{ trueup.literal(place.column) }},
                    'row_key', listed_offenders.row_key
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
