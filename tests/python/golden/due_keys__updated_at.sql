due_keys as (
    -- changed in the application since the last run
    select deals.id as deal_id
    from deals
    where
        deals.changed_at is null
        or deals.changed_at >= (
            select
                coalesce(max(built_rows.changed_at), '-infinity')
                - interval '1 hour'
            from built_rows
        )
    union
    -- not in the mart
    select deals.id as deal_id
    from deals
    left join built_rows
        on deals.id = built_rows.deal_id
    where
        built_rows.deal_id is null
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
