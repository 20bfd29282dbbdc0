pieces as (
    select
        audited_batches.batch_id,
        audited_batches.is_own,
        audited_batches.is_taken_back,
        audited_batches.is_ours,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        changes.entry_id as place
    from audited_batches
    inner join changes
        on audited_batches.batch_id = changes.batch_id
),

entries as (
    select
        pieces.batch_id,
        pieces.is_own,
        pieces.is_taken_back,
        pieces.is_ours,
        pieces.place,
        audited.row_key,
        audited.tenant,
        audited.map_id
    from pieces
    cross join
        unnest(pieces.row_keys, pieces.tenants, pieces.map_ids)
            as audited (row_key, tenant, map_id)
),

audited_rows as (
    select
        entries.row_key,
        max(entries.batch_id) filter (where entries.is_taken_back) as batch_id,
        max(entries.tenant) filter (where entries.is_own) as tenant,
        bool_or(
            cast($2 as text[]) is null
            or array_position(cast($2 as text[]), entries.tenant) is not null
        ) filter (where entries.is_own) as is_in_scope,
        -- the number of the mapping in the low 16 bits, below the place of its entry in time
        min(entries.place << 16 | entries.map_id) filter (where entries.is_own)
        & 65535 as first_map_id,
        max(entries.place << 16 | entries.map_id) filter (where entries.is_own)
        & 65535 as last_map_id,
        bool_or(entries.is_ours) as is_restored,
        coalesce(
            max(entries.place) filter (where not entries.is_own)
            > max(entries.place) filter (where entries.is_own),
            false
        ) as is_changed_later
    from entries
    group by entries.row_key
    having bool_or(entries.is_taken_back)
)
