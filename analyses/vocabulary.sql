-- name: vocabulary__values(vocabulary)
-- Every distinct raw value and what it means, the commonest first; rows counts the cells that hold
-- it. matched_alias: the alias, canonical value or label that decided.
with resolved_values as (
    select * from {{ ref('int_values') }}
),

unmapped_values as (
    select * from {{ ref('audit_unmapped_values') }}
)

select
    resolved_values.raw_value as value,
    resolved_values.row_count as rows,
    resolved_values.resolution,
    resolved_values.canonical_value,
    resolved_values.matched_alias,
    unmapped_values.suggested_value as suggestion
from resolved_values
left join unmapped_values
    on
        resolved_values.vocabulary = unmapped_values.vocabulary
        and resolved_values.text_key = unmapped_values.text_key
        and resolved_values.resolution = 'unknown'
where resolved_values.vocabulary = $1
order by
    resolved_values.row_count desc,
    resolved_values.raw_value asc;

-- name: vocabulary__unmapped(vocabulary, unit)
-- The values that wait for a decision, the commonest first. vocabulary: null for all of them.
-- look_at: sample_keys with the table named once, or with the word unit in its place.
with queue as (
    select * from {{ ref('audit_unmapped_values') }}
),

unmapped_values as (
    select
        queue.*,
        split_part(queue.sample_keys, ' ', 1) as sample_table
    from queue
)

select
    unmapped_values.vocabulary,
    unmapped_values.text_key,
    unmapped_values.raw_value,
    unmapped_values.spelling_count,
    unmapped_values.row_count,
    unmapped_values.found_in,
    unmapped_values.tenant_count,
    unmapped_values.sample_keys,
    unmapped_values.suggested_value,
    unmapped_values.nearest_alias,
    unmapped_values.seed_line,
    coalesce(cast($2 as text), unmapped_values.sample_table) || replace(
        substr(unmapped_values.sample_keys, char_length(unmapped_values.sample_table) + 1),
        ', ' || unmapped_values.sample_table || ' ',
        ', '
    ) as look_at
from unmapped_values
where
    cast($1 as text) is null
    or unmapped_values.vocabulary = $1
order by
    unmapped_values.row_count desc,
    unmapped_values.text_key asc;

-- name: vocabulary__coverage(vocabulary)
-- Rows by what the vocabulary says of them: of all columns, of each column, of each tenant of a
-- column. The largest column comes first, and the tenant with the lowest share of resolved rows.
with coverage as (
    select * from {{ ref('fct_stage_coverage') }}
),

versions as (
    select * from {{ ref('dim_vocabularies') }}
),

counts as (
    select
        coverage.table_name,
        coverage.column_name,
        coverage.tenant,
        case grouping(coverage.column_name, coverage.tenant)
            when 0 then 'tenant'
            when 1 then 'column'
            else 'all'
        end as grouped_by,
        coalesce(sum(coverage.row_count), 0) as rows,
        coalesce(sum(coverage.canonical_rows), 0) as canonical,
        coalesce(sum(coverage.resolved_rows), 0) as resolved,
        coalesce(sum(coverage.unknown_rows), 0) as undecided,
        coalesce(sum(coverage.blank_rows + coverage.null_rows), 0) as missing
    from coverage
    where coverage.vocabulary = $1
    group by grouping sets (
        (),
        (coverage.table_name, coverage.column_name),
        (coverage.table_name, coverage.column_name, coverage.tenant)
    )
),

final as (
    select
        counts.*,
        counts.resolved - counts.canonical as to_change,
        counts.rows - counts.resolved - counts.undecided - counts.missing as known,
        -- shares are of the rows that hold a value
        counts.rows - counts.missing as filled,
        counts.resolved / nullif(counts.rows - counts.missing, 0) as resolved_share,
        counts.table_name || '.' || counts.column_name as place,
        coalesce(versions.vocabulary_version, '') as vocabulary_version
    from counts
    left join versions
        on versions.vocabulary = $1
)

select * from final
order by
    case when final.grouped_by = 'tenant' then final.resolved_share end asc nulls last,
    case when final.grouped_by <> 'tenant' then final.rows end desc nulls last,
    final.table_name asc,
    final.column_name asc,
    final.tenant asc nulls first;

-- name: vocabulary__text_keys(texts, vocabulary)
-- The text keys of some texts, in their order, whole and without the vocabulary's noise words.
-- `trueup alias add` uses them to find out whether a spelling is already decided.
with keyed_texts as {{ computed_once() }} (
    select
        given_texts.position,
        {{ text_key('given_texts.given_text') | indent(8) }} as text_key
    from unnest(cast($1 as text[])) with ordinality as given_texts (given_text, position)
)

select
    keyed_texts.text_key,
    case cast($2 as text)
        {%- for vocabulary in vocabularies().values() %}
        when '{{ vocabulary.name }}'
            then {{ without_noise('keyed_texts.text_key', vocabulary) | indent(12) }}
        {%- endfor %}
    end as bare_key
from keyed_texts
order by keyed_texts.position
