-- The application's companies. Managed columns compare byte by byte (collation "C"), whatever the
-- database's collation is: 'Seed' and 'seed' are two spellings.
with source_rows as (
    select * from {{ source('sample', 'portfoliocompanies') }}
),

final as (
    select
        source_rows.id,
        source_rows.fund_id,
        source_rows.name as company_name,
        {{ binary_text('source_rows.stage') }} as stage,
        {{ binary_text('source_rows.current_stage') }} as current_stage,
        source_rows.row_version,
        source_rows.updated_at
    from source_rows
)

select * from final
