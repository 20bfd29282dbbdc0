{#-
    The users of a run, $1, whose documents are in the tables, as CTEs; no comma at the end.
    app_state_verified_users() → ... users(user_id, state, arrays, refused, is_present) as (...)
-#}
{%- macro app_state_verified_users() -%}
{{ trueup.app_state_run_documents() }},

-- is_present: the document has not changed since it was written
users as {{ trueup.computed_once() }} (
    select
        documents.user_id,
        documents.state,
        documents_rest.arrays,
        documents_rest.refused,
        md5(cast(documents.state as text)) = documents_rest.document_md5 as is_present
    from documents
    inner join {{ trueup.target_table({'table': 'documents_rest'}) }} as documents_rest
        on documents.user_id = documents_rest.user_id
    where documents.reason is null
)
{%- endmacro -%}
