with
{%- for vocabulary in vocabularies().values() %}
{{ vocabulary.name }}_canonical_values as (
    select * from {{ ref(vocabulary.canonical_seed) }}
),

{{ vocabulary.name }}_aliases as (
    select * from {{ ref(vocabulary.alias_seed) }}
),
{% endfor %}
-- every decision of both seeds as one line; who decided when does not change what a value means
decisions as (
    {%- for vocabulary in vocabularies().values() %}
    select
        '{{ vocabulary.name }}' as vocabulary,
        'value' as kind,
        {{ vocabulary.name }}_canonical_values.canonical_value || ' ' || {{ vocabulary.name }}_canonical_values.sort_rank
        || ' ' || {{ vocabulary.name }}_canonical_values.label as decision
    from {{ vocabulary.name }}_canonical_values
    union all
    select
        '{{ vocabulary.name }}' as vocabulary,
        'alias' as kind,
        {{ vocabulary.name }}_aliases.alias_text || ' ' || {{ vocabulary.name }}_aliases.match_type
        || ' ' || coalesce({{ vocabulary.name }}_aliases.canonical_value, '') as decision
    from {{ vocabulary.name }}_aliases
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

final as (
    select
        decisions.vocabulary,
        {{ text_digest("string_agg(decisions.kind || ' ' || decisions.decision, ' | ' order by " ~ binary_text("decisions.kind || ' ' || decisions.decision") ~ ")") }} as vocabulary_version,
        count(*) filter (where decisions.kind = 'value') as canonical_values,
        count(*) filter (where decisions.kind = 'alias') as aliases
    from decisions
    group by decisions.vocabulary
)

select * from final
