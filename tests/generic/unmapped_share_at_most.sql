{#-
    Unknown values are at most this share of a column's rows (0 to 1). Shows the columns above it,
    with the numbers.
-#}
{% test unmapped_share_at_most(model, share) -%}
with coverage as (
    select
        table_name,
        column_name,
        sum(row_count) as row_count,
        sum(unknown_rows) as unknown_rows
    from {{ model }}
    group by
        table_name,
        column_name
)

select
    coverage.table_name,
    coverage.column_name,
    coverage.row_count,
    coverage.unknown_rows,
    round(coverage.unknown_rows / coverage.row_count, 4) as unmapped_share
from coverage
where coverage.unknown_rows > {{ share }} * coverage.row_count
{%- endtest %}
