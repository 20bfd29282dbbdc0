-- One row per document and name in it, read live. An owner whose document is empty or not an object
-- has one row without a name, so that checks see it.
{%- set documents = managed_documents() %}
with
{%- for model_name in documents | map(attribute='model') | unique %}
{{ model_name }} as (
    select * from {{ ref(model_name) }}
),
{% endfor %}
final as (
    {%- for entry in documents %}
    select
        {{ literal(entry.table) }} as owner_table,
        {{ literal(entry.column) }} as owner_column,
        '{{ entry.vocabulary }}' as vocabulary,
        {{ row_key(entry.key, entry.model) | indent(8) }} as owner_key,
        {{ tenant_text(entry.model, entry.tenant) }} as tenant,
        {{ binary_text('members.stage_name') }} as stage_name,
        {{ json_number('members.weight_value') | indent(8) }} as weight,
        {%- if entry.updated_at %}
        {{ entry.model }}.{{ quoted(entry.updated_at) }} as updated_at
        {%- else %}
        cast(null as timestamp with time zone) as updated_at
        {%- endif %}
    from {{ entry.model }}
    left join
        {{ json_members(entry.model ~ '.' ~ quoted(entry.column), 'members') | indent(8) }}
        on true
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select * from final
