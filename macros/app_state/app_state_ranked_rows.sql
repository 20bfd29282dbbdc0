{#-
    Rows of user_app_state with their place among those of their user, the newest first, as a CTE;
    no comma at the end.
    app_state_ranked_rows() expects the CTE source_rows. Defines ranked_rows(user_id, row_id,
    version, updated_at, state, place, row_total). user_id is '' without a user.
-#}
{%- macro app_state_ranked_rows() -%}
ranked_rows as (
    select
        source_rows.state,
        cast(source_rows.id as text) as row_id,
        coalesce(cast(source_rows.user_id as text), '') as user_id,
        cast(source_rows.version as text) as version,
        source_rows.updated_at,
        row_number() over (
            partition by coalesce(cast(source_rows.user_id as text), '')
            order by
                source_rows.updated_at desc nulls last,
                source_rows.id asc
        ) as place,
        count(*) over (
            partition by coalesce(cast(source_rows.user_id as text), '')
        ) as row_total
    from source_rows
)
{%- endmacro -%}
