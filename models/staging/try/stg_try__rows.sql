-- The records of the CSV file that `trueup try` was given.
with source_rows as (
    select * from {{ source('try', 'try_rows') }}
),

final as (
    select
        source_rows.row_number,
        {{ binary_text('source_rows.value') }} as value
    from source_rows
)

select * from final
