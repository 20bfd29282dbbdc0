-- The lookup table: one row per key, from canonical values, their labels and aliases. If a key is
-- here twice, a test fails the build, so no model has to choose between meanings.
with
{%- for vocabulary in vocabularies().values() %}
{{ vocabulary.name }}_canonical_values as (
    select * from {{ ref(vocabulary.canonical_seed) }}
),

{{ vocabulary.name }}_aliases as (
    select * from {{ ref(vocabulary.alias_seed) }}
),
{% endfor %}
-- A canonical value and its label are spellings of it and need no alias.
spellings as (
    {%- for vocabulary in vocabularies().values() %}
    select
        '{{ vocabulary.name }}' as vocabulary,
        'canonical_value' as origin,
        {{ vocabulary.name }}_canonical_values.canonical_value as alias_text,
        {{ vocabulary.name }}_canonical_values.canonical_value,
        'exact' as match_type
    from {{ vocabulary.name }}_canonical_values
    union all
    select
        '{{ vocabulary.name }}' as vocabulary,
        'label' as origin,
        {{ vocabulary.name }}_canonical_values.label as alias_text,
        {{ vocabulary.name }}_canonical_values.canonical_value,
        'exact' as match_type
    from {{ vocabulary.name }}_canonical_values
    union all
    select
        '{{ vocabulary.name }}' as vocabulary,
        'alias' as origin,
        {{ vocabulary.name }}_aliases.alias_text,
        {{ vocabulary.name }}_aliases.canonical_value,
        {{ vocabulary.name }}_aliases.match_type
    from {{ vocabulary.name }}_aliases
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

keyed_spellings as (
    select
        spellings.*,
        {{ text_key('spellings.alias_text') | indent(8) }} as alias_key
    from spellings
),

canonical_keys as (
    select * from keyed_spellings
    where keyed_spellings.origin = 'canonical_value'
),

final as (
    select
        keyed_spellings.vocabulary,
        keyed_spellings.alias_key,
        keyed_spellings.alias_text,
        keyed_spellings.match_type,
        keyed_spellings.canonical_value,
        -- the value a row may get: none if the alias says that the text does not name one value
        case
            when keyed_spellings.match_type = 'exact' then keyed_spellings.canonical_value
            {%- for vocabulary in vocabularies().values() if vocabulary.accept_broader %}
            when
                keyed_spellings.match_type = 'broader'
                and keyed_spellings.vocabulary = '{{ vocabulary.name }}'
                then keyed_spellings.canonical_value
            {%- endfor %}
        end as accepted_value
    from keyed_spellings
    left join canonical_keys
        on
            keyed_spellings.vocabulary = canonical_keys.vocabulary
            and keyed_spellings.alias_key = canonical_keys.alias_key
            and keyed_spellings.canonical_value = canonical_keys.canonical_value
    -- leave out a label with the same key as its value ('Series A' and 'series-a')
    where not (keyed_spellings.origin = 'label' and canonical_keys.alias_key is not null)
)

select * from final
