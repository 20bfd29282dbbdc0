{#-
    The keys of a vocabulary as guard_keys has them, as an expression: jsonb, an array of rows.
    installed_keys('guarded.vocabulary') → (select jsonb_agg(...) from int_vocabulary_keys ...)
-#}
{%- macro installed_keys(vocabulary) -%}
(
    select
        jsonb_agg(
            jsonb_build_object(
                'vocabulary', seeded.vocabulary,
                'alias_key', seeded.alias_key,
                'alias_text', seeded.alias_text,
                'match_type', seeded.match_type,
                'canonical_value', seeded.canonical_value,
                'accepted_value', seeded.accepted_value
            )
        ) as found
    from {{ ref('int_vocabulary_keys') }} as seeded
    where seeded.vocabulary = {{ vocabulary }}
)
{%- endmacro -%}
