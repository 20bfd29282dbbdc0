value_map as (
    select
        mappings.value_before,
        mappings.map_id
    from
        unnest(cast($4 as text[]), cast($5 as smallint[]))
            as mappings (value_before, map_id)
)
