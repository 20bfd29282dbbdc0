-- One row per column and tenant: its rows by resolution, and how many have a canonical value.
with value_counts as (
    select * from {{ ref('int_value_counts') }}
),

resolved_values as (
    select * from {{ ref('int_values') }}
),

resolved_counts as (
    select
        value_counts.table_name,
        value_counts.column_name,
        value_counts.vocabulary,
        value_counts.tenant,
        value_counts.row_count,
        resolved_values.canonical_value,
        -- NULL matches nothing in the join
        coalesce(resolved_values.resolution, 'null') as resolution
    from value_counts
    left join resolved_values
        on
            value_counts.vocabulary = resolved_values.vocabulary
            and value_counts.raw_value = resolved_values.raw_value
),

final as (
    select
        -- a row of no tenant ends without a slash, a row of the tenant '' with one
        resolved_counts.table_name || '.' || resolved_counts.column_name
        || coalesce('/' || resolved_counts.tenant, '') as coverage_key,
        resolved_counts.table_name,
        resolved_counts.column_name,
        resolved_counts.vocabulary,
        resolved_counts.tenant,
        cast(sum(resolved_counts.row_count) as bigint) as row_count,
        {%- for resolution in resolutions() %}
        cast(
            coalesce(
                sum(resolved_counts.row_count) filter (
                    where resolved_counts.resolution = '{{ resolution }}'
                ),
                0
            ) as bigint
        ) as {{ resolution }}_rows,
        {%- endfor %}
        cast(
            coalesce(
                sum(resolved_counts.row_count) filter (
                    where resolved_counts.canonical_value is not null
                ),
                0
            ) as bigint
        ) as resolved_rows
    from resolved_counts
    group by
        resolved_counts.table_name,
        resolved_counts.column_name,
        resolved_counts.vocabulary,
        resolved_counts.tenant
)

select * from final
