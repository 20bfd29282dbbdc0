{#-
    The resolver, as CTEs: what does each distinct raw value mean? Only this macro decides it.

    resolve('observed_values') expects a CTE observed_values(vocabulary, raw_value, ...) with one
    row per vocabulary and distinct raw value (NULL allowed), and a CTE vocabulary_keys (select *
    from int_vocabulary_keys). It defines, last, resolved_values: every column of observed_values
    and
        text_key, bare_key  the key, and the key without noise words at its end
        resolution          one of resolutions()
        canonical_value     set for canonical, for exact and, where the vocabulary accepts it, for
                            broader; else NULL
        matched_alias       the alias that decided
    No comma at the end. Called once per distinct value, never per row.
-#}
{%- macro resolve(observed_values) -%}
-- The text key of every value. Materialized: it is expensive, and every join would repeat it.
keyed_values as {{ trueup.computed_once() }} (
    select
        {{ observed_values }}.*,
        {{ trueup.text_key(observed_values ~ '.raw_value') | indent(8) }} as text_key
    from {{ observed_values }}
),

bare_values as {{ trueup.computed_once() }} (
    select
        keyed_values.*,
        case keyed_values.vocabulary
            {%- for vocabulary in trueup.vocabularies().values() %}
            when '{{ vocabulary.name }}'
                then {{ trueup.without_noise('keyed_values.text_key', vocabulary) | indent(16) }}
            {%- endfor %}
        end as bare_key
    from keyed_values
),

-- The key decides. If no alias has it, the key without noise words decides, if it has at least two
-- characters.
matched_values as (
    select
        bare_values.*,
        coalesce(whole_key.alias_key, rest_of_key.alias_key) as matched_key
    from bare_values
    left join vocabulary_keys as whole_key
        on
            bare_values.vocabulary = whole_key.vocabulary
            and bare_values.text_key = whole_key.alias_key
    left join vocabulary_keys as rest_of_key
        on
            bare_values.vocabulary = rest_of_key.vocabulary
            and bare_values.bare_key = rest_of_key.alias_key
            and char_length(rest_of_key.alias_key) >= 2
),

resolved_values as (
    select
        matched_values.*,
        case
            when matched_values.raw_value is null then 'null'
            when
                {{ trueup.is_blank('matched_values.raw_value') | indent(16) }}
                then 'blank'
            when vocabulary_keys.alias_key is null then 'unknown'
            when matched_values.raw_value = vocabulary_keys.canonical_value then 'canonical'
            else vocabulary_keys.match_type
        end as resolution,
        vocabulary_keys.accepted_value as canonical_value,
        vocabulary_keys.alias_text as matched_alias
    from matched_values
    left join vocabulary_keys
        on
            matched_values.vocabulary = vocabulary_keys.vocabulary
            and matched_values.matched_key = vocabulary_keys.alias_key
)
{%- endmacro -%}
