{#-
    What a rollback must know about every row that the original run has changed, as CTEs; no comma
    at the end. Only this macro decides it, for the plan of a rollback, its batches and its end.

    audited_rows('$7') expects a CTE audited_batches(batch_id, is_own, is_taken_back, is_ours):
    batches of the run that is taken back (is_own), those that this rollback takes back among them
    (is_taken_back), and of all runs that may have changed the same rows later, this rollback among
    them (is_ours). Its argument is the array of tenants in scope. It defines, last,
    audited_rows(row_key, batch_id, tenant, is_in_scope, first_map_id, last_map_id, is_restored,
    is_changed_later), one row per row of the application.

    A row that moved to another tenant may have been changed by several batches of a run that is cut
    by tenant. One of them restores it, batch_id: the newest that is taken back.

    One grouping and no join, so that it is fast even if the tables were never analyzed.
-#}
{%- macro audited_rows(tenants) -%}
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
            cast({{ tenants }} as text[]) is null
            or array_position(cast({{ tenants }} as text[]), entries.tenant) is not null
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
{%- endmacro -%}
