{#-
    The newest document of each user, as CTEs; no comma at the end. Rows without a user are all
    there: each is refused.

    app_state_documents() expects the CTE source_rows: rows of user_app_state. Defines, last,
    documents(user_id, row_id, version, updated_at, state, reason): reason is NULL if the document
    can be moved, else a code of app_state_reasons(). user_id is '' without a user.
-#}
{%- macro app_state_documents() -%}
{%- set settings = trueup.app_state_settings() -%}
{{ trueup.app_state_ranked_rows() }},

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
