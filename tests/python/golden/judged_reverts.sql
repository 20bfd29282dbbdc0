later_runs as (
    select runs.run_id
    from runs
    cross join reverted_runs
    where
        runs.run_id not in (reverted_runs.run_id, $1)
        and coalesce(runs.finished_at >= reverted_runs.started_at, true)
),

audited_batches as (
    select
        reverted_batches.batch_id,
        true as is_own,
        reverted_batches.is_taken_back,
        false as is_ours
    from reverted_batches
    union all
    select
        batches.batch_id,
        false as is_own,
        false as is_taken_back,
        true as is_ours
    from reverted_batches
    inner join batches
        on reverted_batches.batch_id = batches.reverts_batch_id
    where batches.run_id = $1
    union all
    select
        batches.batch_id,
        false as is_own,
        false as is_taken_back,
        false as is_ours
    from batches
    inner join later_runs
        on batches.run_id = later_runs.run_id
    where
        batches.table_name = 'deals'
        and batches.column_name = 'stage'
        and exists (
            select 1 as found
            from reverted_batches
        )
),

pieces as (
    select
        audited_batches.batch_id,
        audited_batches.is_own,
        audited_batches.is_taken_back,
        audited_batches.is_ours,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        row_number() over (order by changes.run_at) as place
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
),

reverted_values as (
    select value_map.*
    from value_map
    inner join reverted_runs
        on value_map.run_id = reverted_runs.run_id
    where
        value_map.table_name = 'deals'
        and value_map.column_name = 'stage'
),

current_rows as (
    select
        cast(application.id as text) as row_key,
        cast(application.stage as text) collate "C" as value_now
    from public.deals as application
),

judged_rows as (
    select
        audited_rows.row_key,
        audited_rows.batch_id,
        audited_rows.tenant,
        own_values.map_id,
        own_values.value_after as value_before,
        reverted_values.value_after as value_written,
        current_rows.value_now,
        audited_rows.is_restored,
        case
            when current_rows.row_key is null then 'deleted'
            when audited_rows.is_changed_later then 'changed by a later run'
            when current_rows.value_now = reverted_values.value_after then null
            else 'edited'
        end as reason
    from audited_rows
    inner join own_values
        on audited_rows.first_map_id = own_values.map_id
    inner join reverted_values
        on audited_rows.last_map_id = reverted_values.map_id
    left join current_rows
        on audited_rows.row_key = current_rows.row_key
    where audited_rows.is_in_scope
)
