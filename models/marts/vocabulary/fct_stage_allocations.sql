-- One row per document and canonical value: the weights of all names that mean the value, added up.
-- A name without a canonical value keeps its own row, and its owner is flagged.
with stage_weights as (
    select * from {{ ref('int_stage_weights') }}
),

resolved_values as (
    select * from {{ ref('int_values') }}
),

resolved_weights as (
    select
        stage_weights.*,
        resolved_values.canonical_value as stage,
        -- groups the names that mean the same value; a name without a value keeps its own row
        coalesce(
            resolved_values.canonical_value, '?' || stage_weights.stage_name, ''
        ) as stage_group
    from stage_weights
    left join resolved_values
        on
            stage_weights.vocabulary = resolved_values.vocabulary
            and stage_weights.stage_name = resolved_values.raw_value
),

owners as (
    select
        resolved_weights.owner_table,
        resolved_weights.owner_column,
        resolved_weights.owner_key,
        count(resolved_weights.stage_name) filter (
            where resolved_weights.stage is null
        ) as names_without_stage,
        count(resolved_weights.stage_name) as name_total,
        count(*) filter (where resolved_weights.weight is null) as names_without_weight,
        min(resolved_weights.weight) as smallest_weight,
        sum(resolved_weights.weight) as weight_sum
    from resolved_weights
    group by
        resolved_weights.owner_table,
        resolved_weights.owner_column,
        resolved_weights.owner_key
),

allocations as (
    select
        resolved_weights.owner_table,
        resolved_weights.owner_column,
        resolved_weights.owner_key,
        resolved_weights.tenant,
        resolved_weights.vocabulary,
        resolved_weights.stage,
        resolved_weights.stage_group,
        string_agg(
            resolved_weights.stage_name, ' | ' order by resolved_weights.stage_name
        ) as stage_names,
        -- added up, never overwritten: {"Series A": 0.3, "series_a": 0.2} gives 0.5 in Series A
        sum(resolved_weights.weight) as weight,
        max(resolved_weights.updated_at) as updated_at
    from resolved_weights
    group by
        resolved_weights.owner_table,
        resolved_weights.owner_column,
        resolved_weights.owner_key,
        resolved_weights.tenant,
        resolved_weights.vocabulary,
        resolved_weights.stage,
        resolved_weights.stage_group
),

named_allocations as (
    select
        allocations.*,
        {{ list_text([
            'allocations.owner_table', 'allocations.owner_column', 'allocations.owner_key',
            'allocations.stage_group',
        ]) | indent(8) }} as allocation_name
    from allocations
),

final as (
    select
        -- a digest: a name in a document may be longer than an index entry
        {{ text_digest('named_allocations.allocation_name') | indent(8) }} as allocation_key,
        named_allocations.owner_table,
        named_allocations.owner_column,
        named_allocations.owner_key,
        named_allocations.tenant,
        named_allocations.vocabulary,
        named_allocations.stage,
        named_allocations.stage_names,
        cast(named_allocations.weight as numeric(28, 10)) as weight,
        cast(owners.weight_sum as numeric(28, 10)) as owner_weight_sum,
        owners.names_without_stage > 0 as owner_has_unresolved_name,
        {{ weight_issue('owners', var('weight_sum_epsilon')) | indent(8) }} as owner_weight_issue,
        named_allocations.updated_at
    from named_allocations
    inner join owners
        on
            named_allocations.owner_table = owners.owner_table
            and named_allocations.owner_column = owners.owner_column
            and named_allocations.owner_key = owners.owner_key
)

select * from final
