-- Which spellings are not decided yet? One row per key, the commonest spelling shown, with the
-- nearest alias as a suggestion: for a person to accept, never applied.
with resolved_values as (
    select * from {{ ref('int_values') }}
),

value_counts as (
    select * from {{ ref('int_value_counts') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

unknown_values as (
    select
        resolved_values.*,
        -- the spelling shown is the commonest
        row_number() over (
            partition by resolved_values.vocabulary, resolved_values.text_key
            order by resolved_values.row_count desc, resolved_values.raw_value asc
        ) as spelling_rank
    from resolved_values
    where resolved_values.resolution = 'unknown'
),

-- one alias decides all spellings that share a key, so they are one row
unmapped_keys as {{ computed_once() }} (
    select
        unknown_values.vocabulary,
        unknown_values.text_key,
        unknown_values.bare_key,
        {{ fixed_parts('unknown_values.bare_key') | indent(8) }} as fixed_parts,
        -- at most two edits, and at most one in four characters; none if the text is too long for a
        -- typing error
        case
            when char_length(unknown_values.bare_key) > 60 then 0
            else least(2, char_length(unknown_values.bare_key) / 4)
        end as edits_allowed,
        -- dbt reads the word null in a seed as NULL; brackets are folded away in the key
        case
            when unknown_values.text_key = 'null' then '(null)'
            else unknown_values.text_key
        end as seed_text,
        max(unknown_values.raw_value) filter (where unknown_values.spelling_rank = 1) as raw_value,
        count(*) as spelling_count,
        sum(unknown_values.row_count) as row_count,
        min(unknown_values.first_seen_at) as first_seen_at,
        max(unknown_values.last_seen_at) as last_seen_at
    from unknown_values
    group by
        unknown_values.vocabulary,
        unknown_values.text_key,
        unknown_values.bare_key
),

spaced_keys as (
    select
        vocabulary_keys.vocabulary,
        replace(vocabulary_keys.alias_key, ' ', '') as joined_key
    from vocabulary_keys
    -- the last word has one or two letters
    where
        vocabulary_keys.alias_key like '% _'
        or vocabulary_keys.alias_key like '% __'
    group by
        vocabulary_keys.vocabulary,
        replace(vocabulary_keys.alias_key, ' ', '')
),

-- Every alias competes, but only one with a canonical value is suggested. 'seriesa' is not
-- suggested if 'series a' is an alias, because its last letter must not be guessed.
target_keys as {{ computed_once() }} (
    select
        vocabulary_keys.vocabulary,
        vocabulary_keys.alias_key,
        vocabulary_keys.match_type,
        case when spaced_keys.joined_key is null then vocabulary_keys.accepted_value
        end as suggestable_value,
        {{ fixed_parts('vocabulary_keys.alias_key') | indent(8) }} as fixed_parts
    from vocabulary_keys
    left join spaced_keys
        on
            vocabulary_keys.vocabulary = spaced_keys.vocabulary
            and vocabulary_keys.alias_key = spaced_keys.joined_key
    where char_length(vocabulary_keys.alias_key) <= 60
),

distances as (
    select
        unmapped_keys.vocabulary,
        unmapped_keys.text_key,
        unmapped_keys.edits_allowed,
        target_keys.alias_key,
        target_keys.match_type,
        target_keys.suggestable_value,
        {{ edit_distance('unmapped_keys.bare_key', 'target_keys.alias_key', 2) }} as edits
    from unmapped_keys
    inner join target_keys
        on
            unmapped_keys.vocabulary = target_keys.vocabulary
            -- a single letter or digit distinguishes values: it is never swapped
            and unmapped_keys.fixed_parts = target_keys.fixed_parts
            and char_length(target_keys.alias_key) between
            char_length(unmapped_keys.bare_key) - 2 and char_length(unmapped_keys.bare_key) + 2
    where unmapped_keys.edits_allowed > 0
),

ranked_distances as (
    select
        distances.*,
        rank() over (
            partition by distances.vocabulary, distances.text_key
            order by distances.edits
        ) as distance_rank
    from distances
    where distances.edits <= distances.edits_allowed
),

-- if the nearest aliases disagree, there is no suggestion
suggestions as (
    select
        ranked_distances.vocabulary,
        ranked_distances.text_key,
        min(ranked_distances.suggestable_value) as suggested_value,
        min(ranked_distances.alias_key) as nearest_alias,
        min(ranked_distances.match_type) as match_type
    from ranked_distances
    where ranked_distances.distance_rank = 1
    group by
        ranked_distances.vocabulary,
        ranked_distances.text_key
    having
        count(distinct ranked_distances.suggestable_value) = 1
        and count(*) = count(ranked_distances.suggestable_value)
),

places as (
    select
        value_counts.table_name,
        value_counts.column_name,
        value_counts.tenant,
        value_counts.sample_key,
        unknown_values.vocabulary,
        unknown_values.text_key,
        row_number() over (
            partition by unknown_values.vocabulary, unknown_values.text_key
            order by
                value_counts.row_count desc,
                value_counts.table_name asc,
                value_counts.column_name asc,
                value_counts.tenant asc,
                value_counts.sample_key asc
        ) as place_rank
    from value_counts
    inner join unknown_values
        on
            value_counts.vocabulary = unknown_values.vocabulary
            and value_counts.raw_value = unknown_values.raw_value
),

findings as (
    select
        places.vocabulary,
        places.text_key,
        string_agg(distinct places.table_name || '.' || places.column_name, ', ') as found_in,
        count(distinct places.tenant) as tenant_count,
        string_agg(
            places.table_name || ' ' || places.sample_key, ', ' order by places.place_rank
        ) filter (where places.place_rank <= {{ var('sample_keys') }}) as sample_keys
    from places
    group by
        places.vocabulary,
        places.text_key
),

final as (
    select
        unmapped_keys.vocabulary,
        unmapped_keys.text_key,
        unmapped_keys.raw_value,
        unmapped_keys.spelling_count,
        unmapped_keys.row_count,
        findings.found_in,
        findings.tenant_count,
        findings.sample_keys,
        unmapped_keys.first_seen_at,
        unmapped_keys.last_seen_at,
        suggestions.suggested_value,
        suggestions.nearest_alias,
        -- in the order of the alias seed's columns; a text without a key cannot be an alias;
        -- the author stays empty
        case
            when unmapped_keys.text_key <> ''
                then concat_ws(
                    ',',
                    {{ csv_field('unmapped_keys.seed_text') | indent(20) }},
                    coalesce(suggestions.suggested_value, ''),
                    coalesce(suggestions.match_type, ''),
                    '',
                    current_date,
                    coalesce('nearest to ' || suggestions.nearest_alias, '')
                )
        end as seed_line
    from unmapped_keys
    inner join findings
        on
            unmapped_keys.vocabulary = findings.vocabulary
            and unmapped_keys.text_key = findings.text_key
    left join suggestions
        on
            unmapped_keys.vocabulary = suggestions.vocabulary
            and unmapped_keys.text_key = suggestions.text_key
)

select * from final
