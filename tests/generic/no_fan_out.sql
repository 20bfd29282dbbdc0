{#-
    The model has as many rows per key as the model it was made from: no join has multiplied a row.
    Shows the keys with more.
    from_model: a ref; key: a column of the tested model; from_key: the column of from_model it is
    made from.
-#}
{% test no_fan_out(model, key, from_model, from_key) -%}
with result_rows as (
    select
        {{ key }} as row_key,
        count(*) as row_count
    from {{ model }}
    group by {{ key }}
),

source_rows as (
    select
        {{ from_key }} as row_key,
        count(*) as row_count
    from {{ from_model }}
    group by {{ from_key }}
)

select
    result_rows.row_key,
    source_rows.row_count as rows_before,
    result_rows.row_count as rows_after
from result_rows
inner join source_rows
    on result_rows.row_key = source_rows.row_key
where result_rows.row_count > source_rows.row_count
{%- endtest %}
