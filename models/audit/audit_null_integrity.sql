with
{%- for entry in marts() %}
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
    select
        '{{ entry.table }}' as table_name,
        '{{ entry.column }}' as column_name,
        {%- if entry.tenant %}
        cast({{ entry.model }}.{{ entry.tenant }} as text) as tenant,
        {%- else %}
        cast(null as text) as tenant,
        {%- endif %}
        {{ entry.model }}.{{ entry.column }} as source_value,
        {{ entry.mart }}.{{ entry.column }}_raw as mart_value,
        {{ entry.mart }}.{{ entry.column }} as canonical_value,
        {{ entry.mart }}.{{ entry.column }}_resolution as resolution
    from {{ entry.model }}
    inner join {{ entry.mart }}
        on {{ entry.model }}.{{ entry.key.keys() | first }} = {{ entry.mart }}.{{ entry.mart_key }}
    {%- if entry.updated_at %}
    where
        {{ entry.model }}.{{ entry.updated_at }}
        is not distinct from {{ entry.mart }}.{{ entry.updated_at }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
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
        -- a value that is gone from the mart, or that was resolved and shows no canonical value
        count(*) filter (
            where
            (paired_values.source_value is not null and paired_values.mart_value is null)
            or (
                paired_values.resolution in ('canonical', 'exact')
                and paired_values.canonical_value is null
            )
        ) as values_lost,
        -- a canonical value where the source has none
        count(*) filter (
            where paired_values.source_value is null and paired_values.canonical_value is not null
        ) as values_invented
    from paired_values
    group by
        paired_values.table_name,
        paired_values.column_name,
        paired_values.tenant
)

select * from final
