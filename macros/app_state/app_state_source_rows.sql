{#-
    Rows of user_app_state of some users, or of all, as a CTE; no comma at the end.
    app_state_source_rows('$2') → source_rows as (select ...)

    users: SQL of an array of their ids as text; NULL are all
-#}
{%- macro app_state_source_rows(users) -%}
source_rows as (
    select source_table.*
    from {{ trueup.target_table({'table': 'user_app_state'}) }} as source_table
    where
        cast({{ users }} as text[]) is null
        or cast(source_table.user_id as text) = any(cast({{ users }} as text[]))
)
{%- endmacro -%}
