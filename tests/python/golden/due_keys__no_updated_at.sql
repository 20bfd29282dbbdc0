due_keys as (
    -- not in the mart, or with another value
    select deals.id as deal_id
    from deals
    left join built_rows
        on deals.id = built_rows.deal_id
    where
        built_rows.deal_id is null
        or deals.stage is distinct from built_rows.stage_raw
        or deals.tier is distinct from built_rows.tier_raw
    union
    -- means something else since an alias changed
    select built_rows.deal_id
    from built_rows
    left join stage_values as stage_now
        on built_rows.stage_raw = stage_now.raw_value
    left join stage_values as tier_now
        on built_rows.tier_raw = tier_now.raw_value
    where
        built_rows.stage is distinct from stage_now.canonical_value
        or built_rows.stage_resolution
        <> coalesce(stage_now.resolution, 'null')
        or built_rows.tier is distinct from tier_now.canonical_value
        or built_rows.tier_resolution
        <> coalesce(tier_now.resolution, 'null')
),
