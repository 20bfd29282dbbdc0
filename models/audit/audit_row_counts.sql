-- Does every mart have exactly the rows of its table? One row per table and tenant, compared by key
-- and tenant: a row under the wrong tenant is missing for one tenant and extra for the other.
with
{%- for entry in marts() %}
{{ entry.model }} as (
    select * from {{ ref(entry.model) }}
),

{{ entry.mart }} as (
    select * from {{ ref(entry.mart) }}
),
{%- if entry.updated_at %}

newest_{{ entry.mart }} as (
    select max({{ entry.mart }}.{{ quoted(entry.updated_at) }}) as updated_at
    from {{ entry.mart }}
),
{%- endif %}
{% endfor %}
-- one row per key that is in the source, in the mart or in both
paired_rows as (
    {%- for entry in marts() %}
    select
        {{ literal(entry.table) }} as table_name,
        '{{ entry.mart }}' as mart_name,
        {%- if entry.tenant %}
        cast(
            coalesce(
                {{ entry.model }}.{{ quoted(entry.tenant) }},
                {{ entry.mart }}.{{ quoted(entry.tenant) }}
            ) as text
        ) as tenant,
        {%- else %}
        cast(null as text) as tenant,
        {%- endif %}
        {{ entry.model }}.{{ quoted(entry.key) }} is not null as is_in_source,
        {{ entry.mart }}.{{ entry.mart_key }} is not null as is_in_mart,
        {%- if entry.updated_at %}
        {{ entry.model }}.{{ quoted(entry.updated_at) }}
        > newest_{{ entry.mart }}.updated_at as is_newer_than_mart,
        {{ entry.model }}.{{ quoted(entry.updated_at) }}
        <> {{ entry.mart }}.{{ quoted(entry.updated_at) }} as is_another_version
        {%- else %}
        false as is_newer_than_mart,
        false as is_another_version
        {%- endif %}
    from {{ entry.model }}
    full join {{ entry.mart }}
        on
            {{ entry.model }}.{{ quoted(entry.key) }} = {{ entry.mart }}.{{ entry.mart_key }}
            {%- if entry.tenant %}
            and coalesce('=' || {{ entry.model }}.{{ quoted(entry.tenant) }}, '')
            = coalesce('=' || {{ entry.mart }}.{{ quoted(entry.tenant) }}, '')
            {%- endif %}
    {%- if entry.updated_at %}
    cross join newest_{{ entry.mart }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- if not marts() %}
    select
        cast(null as text) as table_name,
        cast(null as text) as mart_name,
        cast(null as text) as tenant,
        cast(null as boolean) as is_in_source,
        cast(null as boolean) as is_in_mart,
        cast(null as boolean) as is_newer_than_mart,
        cast(null as boolean) as is_another_version
    where false
    {%- endif %}
),

final as (
    select
        paired_rows.table_name,
        paired_rows.mart_name,
        paired_rows.tenant,
        count(*) filter (where paired_rows.is_in_source) as source_rows,
        count(*) filter (where paired_rows.is_in_mart) as mart_rows,
        count(*) filter (
            where not paired_rows.is_in_mart and paired_rows.is_newer_than_mart
        ) as rows_behind,
        count(*) filter (
            where not paired_rows.is_in_mart and paired_rows.is_newer_than_mart is not true
        ) as rows_missing,
        count(*) filter (where not paired_rows.is_in_source) as rows_extra,
        -- the mart has an older version of the row than it should have
        count(*) filter (
            where
            paired_rows.is_in_source
            and paired_rows.is_in_mart
            and paired_rows.is_another_version
            and paired_rows.is_newer_than_mart is not true
        ) as rows_stale
    from paired_rows
    group by
        paired_rows.table_name,
        paired_rows.mart_name,
        paired_rows.tenant
)

select * from final
