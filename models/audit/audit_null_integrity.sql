-- Was a value lost, changed or misread, or was a NULL given a value, between the application's
-- table and the mart? One row per column and tenant; both counts cover the same rows.
with resolved_values as (
    select * from {{ ref('int_values') }}
),
{% for entry in marts() %}
{{ entry.model }} as (
    select * from {{ ref(entry.model) }}
),

{{ entry.mart }} as (
    select * from {{ ref(entry.mart) }}
),
{% endfor %}
-- rows that were edited after the mart was built are left out: the next run shows them
paired_values as (
    {%- for entry in managed_columns() if entry.mart %}
    {%- set key = quoted(entry.key.keys() | first) %}
    select
        {{ literal(entry.table) }} as table_name,
        {{ literal(entry.column) }} as column_name,
        {{ tenant_text(entry.model, entry.tenant) }} as tenant,
        '{{ entry.vocabulary }}' as vocabulary,
        {{ entry.model }}.{{ quoted(entry.column) }} as source_value,
        {{ entry.mart }}.{{ quoted(entry.column ~ '_raw') }} as mart_value,
        {{ entry.mart }}.{{ quoted(entry.column) }} as canonical_value,
        {{ entry.mart }}.{{ quoted(entry.column ~ '_resolution') }} as resolution
    from {{ entry.model }}
    inner join {{ entry.mart }}
        on {{ entry.model }}.{{ key }} = {{ entry.mart }}.{{ entry.mart_key }}
    {%- if entry.updated_at %}
    where
        {{ entry.model }}.{{ quoted(entry.updated_at) }}
        is not distinct from {{ entry.mart }}.{{ quoted(entry.updated_at) }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- if not marts() %}
    select
        cast(null as text) as table_name,
        cast(null as text) as column_name,
        cast(null as text) as tenant,
        cast(null as text) as vocabulary,
        cast(null as text) as source_value,
        cast(null as text) as mart_value,
        cast(null as text) as canonical_value,
        cast(null as text) as resolution
    where false
    {%- endif %}
),

final as (
    select
        paired_values.table_name,
        paired_values.column_name,
        paired_values.tenant,
        count(*) as row_count,
        count(*) filter (where paired_values.source_value is null) as source_nulls,
        count(*) filter (where paired_values.mart_value is null) as mart_nulls,
        count(*) filter (
            where {{ is_blank('paired_values.source_value') | indent(12) }}
        ) as source_blanks,
        count(*) filter (
            where {{ is_blank('paired_values.mart_value') | indent(12) }}
        ) as mart_blanks,
        -- a value missing in the mart, or resolved but without a canonical value there
        count(*) filter (
            where
            (paired_values.source_value is not null and paired_values.mart_value is null)
            or (
                paired_values.resolution in ('canonical', 'exact')
                and paired_values.canonical_value is null
            )
        ) as values_lost,
        -- a canonical value although the source has no value
        count(*) filter (
            where paired_values.source_value is null and paired_values.canonical_value is not null
        ) as values_invented,
        count(*) filter (
            where paired_values.source_value is distinct from paired_values.mart_value
        ) as values_changed,
        -- a canonical value that is not the one of the raw value
        count(*) filter (
            where paired_values.canonical_value is distinct from resolved_values.canonical_value
        ) as values_misread
    from paired_values
    left join resolved_values
        on
            paired_values.vocabulary = resolved_values.vocabulary
            and paired_values.mart_value = resolved_values.raw_value
    group by
        paired_values.table_name,
        paired_values.column_name,
        paired_values.tenant
)

select * from final
