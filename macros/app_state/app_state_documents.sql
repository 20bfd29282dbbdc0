{#-
    The newest document of each user, as CTEs; no comma at the end. Rows without a user are all
    there: each is refused.

    app_state_documents() expects the CTE source_rows: rows of user_app_state. Defines ranked_rows
    (all of them, with place and row_total of their user) and, last, documents(user_id, row_id,
    version, updated_at, state, reason): reason is NULL if the document can be moved, else a code of
    app_state_reasons(). user_id is '' without a user.
-#}
{%- macro app_state_documents() -%}
{%- set settings = trueup.app_state_settings() -%}
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
),

documents as (
    select
        ranked_rows.user_id,
        ranked_rows.row_id,
        ranked_rows.version,
        ranked_rows.updated_at,
        ranked_rows.state,
        case
            when ranked_rows.user_id = '' then 'no_user'
            {%- if settings.versions %}
            when
                ranked_rows.version not in (
                    {%- for version in settings.versions %}
                    {{ trueup.literal(version) }}{{ ',' if not loop.last }}
                    {%- endfor %}
                )
                then 'unknown_version'
            {%- endif %}
            when coalesce(jsonb_typeof(ranked_rows.state), 'null') <> 'object' then 'no_object'
            when octet_length(cast(ranked_rows.state as text)) > {{ settings.most_bytes }}
                then 'too_large'
            when jsonb_path_exists(ranked_rows.state, '$.**{{ '{' ~ settings.most_levels ~ '}' }}')
                then 'too_deep'
        end as reason
    from ranked_rows
    where ranked_rows.place = 1 or ranked_rows.user_id = ''
)
{%- endmacro -%}
