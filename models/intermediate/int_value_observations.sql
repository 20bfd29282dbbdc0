-- One row per managed column and row, read live: a query of this view reads the application's
-- tables.
{%- set columns = managed_columns() %}
{%- set models = columns | map(attribute='model') | unique | list %}
with
{%- for model_name in models %}
{{ model_name }} as (
    select * from {{ ref(model_name) }}
),
{% endfor %}
final as (
    {%- for entry in columns %}
    select
        {{ literal(entry.table) }} as table_name,
        {{ literal(entry.column) }} as column_name,
        '{{ entry.vocabulary }}' as vocabulary,
        {{ row_key(entry.key, entry.model) | indent(8) }} as row_key,
        {{ tenant_text(entry.model, entry.tenant) }} as tenant,
        {{ binary_text(entry.model ~ '.' ~ quoted(entry.column)) }} as raw_value,
        {%- if entry.updated_at %}
        {{ entry.model }}.{{ quoted(entry.updated_at) }} as updated_at
        {%- else %}
        cast(null as timestamp with time zone) as updated_at
        {%- endif %}
    from {{ entry.model }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- if not columns %}
    select
        cast(null as text) as table_name,
        cast(null as text) as column_name,
        cast(null as text) as vocabulary,
        cast(null as text) as row_key,
        cast(null as text) as tenant,
        cast(null as text) as raw_value,
        cast(null as timestamp with time zone) as updated_at
    where false
    {%- endif %}
)

select * from final
