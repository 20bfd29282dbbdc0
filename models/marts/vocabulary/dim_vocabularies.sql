-- One row per vocabulary with its version, a digest of everything its two seeds and its settings
-- decide: two databases with the same version resolve alike. The digest covers the lookup keys too:
-- they are in a separate table, which a partial build may leave older than the seeds.
with vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),
{% for vocabulary in vocabularies().values() %}
{{ vocabulary.name }}_canonical_values as (
    select * from {{ ref(vocabulary.canonical_seed) }}
),

{{ vocabulary.name }}_aliases as (
    select * from {{ ref(vocabulary.alias_seed) }}
),
{% endfor %}
-- every decision as one text, without author and date, which do not change what a value means
decisions as (
    {%- for vocabulary in vocabularies().values() %}
    select
        '{{ vocabulary.name }}' as vocabulary,
        'setting' as kind,
        {{ list_text(
            ["'accept_broader'", vocabulary.accept_broader | lower, "'noise_words'"]
            + ("'" ~ vocabulary.noise_words | join("' '") ~ "'").split(' ')
        ) | indent(8) }} as decision
    union all
    select
        '{{ vocabulary.name }}' as vocabulary,
        'value' as kind,
        {{ list_text([
            "'value'",
            vocabulary.name ~ '_canonical_values.canonical_value',
            vocabulary.name ~ '_canonical_values.sort_rank',
            vocabulary.name ~ '_canonical_values.label',
        ]) | indent(8) }} as decision
    from {{ vocabulary.name }}_canonical_values
    union all
    select
        '{{ vocabulary.name }}' as vocabulary,
        'alias' as kind,
        {{ list_text([
            "'alias'",
            vocabulary.name ~ '_aliases.alias_text',
            vocabulary.name ~ '_aliases.match_type',
            vocabulary.name ~ '_aliases.canonical_value',
        ]) | indent(8) }} as decision
    from {{ vocabulary.name }}_aliases
    union all
    {%- endfor %}
    select
        vocabulary_keys.vocabulary,
        'key' as kind,
        {{ list_text([
            "'key'",
            'vocabulary_keys.alias_key',
            'vocabulary_keys.match_type',
            'vocabulary_keys.canonical_value',
            'vocabulary_keys.accepted_value',
        ]) | indent(8) }} as decision
    from vocabulary_keys
),

vocabulary_texts as (
    select
        decisions.vocabulary,
        string_agg(
            decisions.decision, ' | ' order by {{ binary_text('decisions.decision') }}
        ) as vocabulary_text,
        count(*) filter (where decisions.kind = 'value') as canonical_values,
        count(*) filter (where decisions.kind = 'alias') as aliases
    from decisions
    group by decisions.vocabulary
),

final as (
    select
        vocabulary_texts.vocabulary,
        {{ text_digest('vocabulary_texts.vocabulary_text') | indent(8) }} as vocabulary_version,
        vocabulary_texts.canonical_values,
        vocabulary_texts.aliases
    from vocabulary_texts
)

select * from final
