-- The newest document of each user, and why it cannot be moved into tables, if so.
with source_rows as (
    select * from {{ source('app_state', 'user_app_state') }}
),

{{ app_state_documents() }},

final as (
    select
        documents.user_id,
        documents.row_id,
        documents.version,
        documents.updated_at,
        documents.state,
        documents.reason
    from documents
)

select * from final
