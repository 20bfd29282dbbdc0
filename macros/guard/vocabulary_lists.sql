{#-
    The canonical values and the version of each vocabulary as the seeds have them now, as the CTEs
    `canonical_values` and `lists`; no comma at the end.
    lists: vocabulary, canonical_values (text[], in the order of the seed), vocabulary_version
    vocabulary_lists() → canonical_values as (...), lists as (...)
-#}
{%- macro vocabulary_lists() -%}
canonical_values as (
    {%- for vocabulary in trueup.vocabularies().values() %}
    select
        '{{ vocabulary.name }}' as vocabulary,
        seeds.canonical_value,
        seeds.sort_rank
    from {{ ref(vocabulary.canonical_seed) }} as seeds
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

lists as (
    select
        canonical_values.vocabulary,
        array_agg(
            canonical_values.canonical_value
            order by
                canonical_values.sort_rank asc,
                canonical_values.canonical_value asc
        ) as canonical_values,
        min(versions.vocabulary_version) as vocabulary_version
    from canonical_values
    inner join {{ ref('dim_vocabularies') }} as versions
        on canonical_values.vocabulary = versions.vocabulary
    group by canonical_values.vocabulary
)
{%- endmacro -%}
