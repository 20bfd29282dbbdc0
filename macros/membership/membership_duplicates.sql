{#-
    Sources with several targets and targets with several sources, as the CTE `offenders`; no comma
    at the end. Expects the CTE of membership_pairs().
-#}
{%- macro membership_duplicates() -%}
known_pairs as (
    select pairs.*
    from pairs
    where pairs.target_id is not null
),

offenders as (
    select
        'fail' as status,
        known_pairs.entity,
        known_pairs.source_id,
        min(known_pairs.target_id) as target_id,
        known_pairs.entity || ' ' || known_pairs.source_id || ' has several targets: '
        || string_agg(known_pairs.target_id, ', ' order by known_pairs.target_id) as message
    from known_pairs
    group by
        known_pairs.entity,
        known_pairs.source_id
    having count(*) > 1
    union all
    select
        'fail' as status,
        known_pairs.entity,
        min(known_pairs.source_id) as source_id,
        known_pairs.target_id,
        known_pairs.entity || ' ' || known_pairs.target_id || ' has several sources: '
        || string_agg(known_pairs.source_id, ', ' order by known_pairs.source_id) as message
    from known_pairs
    group by
        known_pairs.entity,
        known_pairs.target_id
    having count(*) > 1
)
{%- endmacro -%}
