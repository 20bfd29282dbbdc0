-- The application's investments. Managed columns compare byte by byte (collation "C"), whatever the
-- database's collation is: 'Seed' and 'seed' are two spellings.
with source_rows as (
    select * from {{ source('sample', 'investments') }}
),

final as (
    select
        source_rows.id,
        source_rows.fund_id,
        source_rows.company_id,
        {{ binary_text('source_rows.round') }} as round,
        source_rows.row_version,
        source_rows.updated_at
    from source_rows
)

select * from final
