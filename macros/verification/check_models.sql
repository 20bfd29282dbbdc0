{#-
    The check models_agree, one row for a column of the run that a mart shows, as CTEs and the last
    select of a statement that begins with verification_request(): if the mart has the same raw
    value as the table, it must have that value's meaning. Rows with another raw value in the mart
    or missing there, and rows of the mart that were deleted from the table, are behind: dbt has not
    built since.

    One pass over table and mart counts pairs of values, and only the few different pairs are
    judged. The rows of wrong pairs are searched only if there are any.
    check_models(entry) → control as ( ... ), ... select * from results
-#}
{%- macro check_models(entry) -%}
{%- set cell = entry.table ~ '.' ~ entry.column -%}
{%- set raw_value = trueup.binary_text('application.' ~ trueup.quoted(entry.column)) -%}
{%- set mart_raw = trueup.binary_text('mart.' ~ trueup.quoted(entry.column ~ '_raw')) -%}
{%- set mart_value = trueup.binary_text('mart.' ~ trueup.quoted(entry.column)) -%}
control as (
    select * from {{ ref('stage_migration_control') }}
),

mart as {{ trueup.read_in_place() }} (
    select * from {{ ref(entry.mart) }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

resolved_values as (
    select * from {{ ref('int_values') }}
),

paired_rows as {{ trueup.read_in_place() }} (
    select
        mart.{{ entry.mart_key }} as mart_key,
        {{ trueup.tenant_text('application', entry.tenant) }} as tenant,
        {{ raw_value }} as raw_value,
        {{ mart_raw }} as mart_raw,
        {{ mart_value }} as mart_value
    from {{ trueup.application_table(entry) }} as application
    left join mart
        on {{ trueup.key_columns(entry.key, 'application') }} = mart.{{ entry.mart_key }}
    where {{ trueup.of_requested_tenant(entry.tenant, 'application') | indent(4) }}
),

compared_rows as {{ trueup.read_in_place() }} (
    select
        paired_rows.*,
        paired_rows.mart_key is null
        or (paired_rows.mart_raw is distinct from paired_rows.raw_value) as is_behind
    from paired_rows
),

counted_pairs as {{ trueup.computed_once() }} (
    select
        compared_rows.raw_value,
        compared_rows.mart_value,
        compared_rows.is_behind,
        count(*) as row_count,
        count(compared_rows.mart_key) as mart_rows
    from compared_rows
    group by
        compared_rows.raw_value,
        compared_rows.mart_value,
        compared_rows.is_behind
),

mart_totals as (
    select count(*) as row_count
    from mart
    where {{ trueup.of_requested_tenant(entry.tenant, 'mart') | indent(4) }}
),

canonical_values as (
    select vocabulary_keys.canonical_value
    from vocabulary_keys
    where vocabulary_keys.vocabulary = {{ trueup.literal(entry.vocabulary) }}
    group by vocabulary_keys.canonical_value
),

-- the meaning of a value: a canonical value means itself, dbt has resolved all other values
judged_pairs as (
    select
        counted_pairs.*,
        coalesce(canonical_values.canonical_value, resolved_values.canonical_value)
            as expected_value
    from counted_pairs
    left join canonical_values
        on counted_pairs.raw_value = canonical_values.canonical_value
    left join resolved_values
        on
            counted_pairs.raw_value = resolved_values.raw_value
            and resolved_values.vocabulary = {{ trueup.literal(entry.vocabulary) }}
),

wrong_pairs as {{ trueup.computed_once() }} (
    select * from judged_pairs
    where
        not judged_pairs.is_behind
        and judged_pairs.mart_value is distinct from judged_pairs.expected_value
),

wrong_totals as (
    select coalesce(sum(wrong_pairs.row_count), 0) as row_count
    from wrong_pairs
),

-- not searched if nothing is wrong
wrong_rows as (
    select
        compared_rows.mart_key,
        compared_rows.tenant,
        compared_rows.raw_value,
        compared_rows.mart_value,
        {{ trueup.literal(cell ~ ', row ') }} || cast(compared_rows.mart_key as text)
        || ': ' || coalesce('''' || compared_rows.raw_value || '''', 'NULL')
        || {{ trueup.literal(' in the table, ' ~ entry.mart ~ ' shows ') }}
        || coalesce('''' || compared_rows.mart_value || '''', 'nothing') || ', not '
        || coalesce('''' || wrong_pairs.expected_value || '''', 'nothing') as message
    from compared_rows
    inner join wrong_pairs
        on
            coalesce(compared_rows.raw_value, '') = coalesce(wrong_pairs.raw_value, '')
            and compared_rows.raw_value is not distinct from wrong_pairs.raw_value
            and compared_rows.mart_value is not distinct from wrong_pairs.mart_value
    where
        not compared_rows.is_behind
        and (select wrong_totals.row_count from wrong_totals) > 0
    order by compared_rows.mart_key
    limit {{ trueup.requested('most') }}
),

wrong_values as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'fail',
                'message',
                {{ trueup.one_line('wrong_rows.message') }},
                'table_name', {{ trueup.literal(entry.table) }},
                'column_name', {{ trueup.literal(entry.column) }},
                'row_key', cast(wrong_rows.mart_key as text),
                'tenant', wrong_rows.tenant,
                'mart', {{ trueup.literal(entry.mart) }},
                'value_in_table', wrong_rows.raw_value,
                'value_in_mart', wrong_rows.mart_value
            )
            order by wrong_rows.mart_key
        ) as sample
    from wrong_rows
),

pair_totals as (
    select
        coalesce(sum(counted_pairs.row_count), 0) as row_count,
        coalesce(sum(counted_pairs.row_count) filter (where counted_pairs.is_behind), 0)
        -- rows of the mart whose row in the table was deleted
        + greatest(
            max(mart_totals.row_count) - coalesce(sum(counted_pairs.mart_rows), 0), 0
        ) as rows_behind
    from mart_totals
    left join counted_pairs on true
),

run_columns as (
    select * from control
    where
        control.run_id = {{ trueup.requested('run_id') }}
        and control.table_name = {{ trueup.literal(entry.table) }}
        and control.column_name = {{ trueup.literal(entry.column) }}
        and {{ trueup.of_request('control.table_name') | indent(8) }}
),

results as (
    select
        'models_agree' as code,
        case when wrong_totals.row_count > 0 then 'fail' else 'ok' end as status,
        {{ trueup.literal(cell ~ ': ' ~ entry.mart ~ ' shows what the values of ') }}
        || cast(pair_totals.row_count as text) || ' rows mean' as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(wrong_totals.row_count as text) || ' rows show something else, '
        || cast(pair_totals.rows_behind as text) || ' are behind' as found,
        coalesce(wrong_values.sample, cast('[]' as jsonb))
        || case
            when
                pair_totals.rows_behind > 0
                and wrong_totals.row_count < coalesce(request.most, wrong_totals.row_count + 1)
                then
                    jsonb_build_array(
                        jsonb_build_object(
                            'status', 'info',
                            'message',
                            {{ trueup.literal(cell ~ ', ' ~ entry.mart ~ ': ') }}
                            || cast(pair_totals.rows_behind as text)
                            || ' rows behind; dbt build',
                            'table_name', {{ trueup.literal(entry.table) }},
                            'column_name', {{ trueup.literal(entry.column) }},
                            'mart', {{ trueup.literal(entry.mart) }},
                            'rows', pair_totals.rows_behind
                        )
                    )
            else cast('[]' as jsonb)
        end as sample,
        cast(
            wrong_totals.row_count + case when pair_totals.rows_behind > 0 then 1 else 0 end
            as bigint
        ) as rows
    from request
    cross join run_columns
    cross join pair_totals
    cross join wrong_totals
    cross join wrong_values
)

select * from results
{%- endmacro -%}
