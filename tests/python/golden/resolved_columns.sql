deals.stage as stage_raw,
stage_values.canonical_value as stage,
case
    when deals.stage is null then 'null'
    -- a value that appeared since int_values was built is unknown until the next run
    else coalesce(stage_values.resolution, 'unknown')
end as stage_resolution
