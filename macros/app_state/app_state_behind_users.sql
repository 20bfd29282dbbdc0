{#-
    Users of a run, $1, whose present document is not the one that was written, as CTEs; no comma
    at the end.
    app_state_behind_users() → ... behind_users(user_id, is_refused, is_written) as (...)
-#}
{%- macro app_state_behind_users() -%}
{{ trueup.app_state_run_documents() }},

behind_users as (
    select
        documents.user_id,
        quarantine.row_key is not null as is_refused,
        images.row_key is not null as is_written
    from documents
    left join {{ trueup.target_table({'table': 'documents_rest'}) }} as documents_rest
        on documents.user_id = documents_rest.user_id
    left join {{ ref('migration_quarantine') }} as quarantine
        on
            quarantine.run_id = $1
            and documents.user_id = quarantine.row_key
    left join {{ ref('migration_audit') }} as images
        on
            images.run_id = $1
            and images.schema_name = {{ trueup.app_schema() }}
            and images.table_name = 'documents_rest'
            and documents.user_id = images.row_key
    where
        documents.reason is null
        and md5(cast(documents.state as text)) is distinct from documents_rest.document_md5
)
{%- endmacro -%}
