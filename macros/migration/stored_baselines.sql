{#-
    A whole statement: counts a column before a run and stores the counts, by tenant, which
    verification compares with. Expects run $1 and tenants $2; range_end: the parameter with the
    last key that counts, none for all rows.
-#}
{%- macro stored_baselines(entry, range_end=none) -%}
{%- set raw_value = trueup.binary_text('application.' ~ trueup.quoted(entry.column)) -%}
with counted_values as (
    select
        {{ trueup.tenant_text('application', entry.tenant) }} as tenant,
        {{ raw_value }} as raw_value,
        count(*) as row_count
    from {{ trueup.application_table(entry) }} as application
    where
        {{ trueup.in_scope(entry.tenant, 'application', '$2') | indent(8) }}
        {%- if range_end %}
        and {{ trueup.key_in_range(entry.key, 'application', 'null', range_end) | indent(8) }}
        {%- endif %}
    group by
        {{ trueup.tenant_groups('application', entry.tenant) | indent(8) }},
        {{ raw_value }}
)

insert into {{ ref('migration_baselines') }} (
    run_id, schema_name, table_name, column_name, tenant, rows, nulls, blanks, row_counts
)
select
    cast($1 as uuid) as run_id,
    {{ trueup.app_schema() }} as schema_name,
    {{ trueup.literal(entry.table) }} as table_name,
    {{ trueup.literal(entry.column) }} as column_name,
    counted_values.tenant,
    sum(counted_values.row_count) as row_total,
    coalesce(
        sum(counted_values.row_count) filter (where counted_values.raw_value is null), 0
    ) as null_total,
    coalesce(
        sum(counted_values.row_count) filter (
            where {{ trueup.is_blank('counted_values.raw_value') | indent(12) }}
        ),
        0
    ) as blank_total,
    coalesce(
        jsonb_object_agg(counted_values.raw_value, counted_values.row_count)
        filter (where counted_values.raw_value is not null),
        '{}'
    ) as row_counts
from counted_values
group by counted_values.tenant
{%- endmacro -%}
