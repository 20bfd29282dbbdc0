-- The named statement that plans a run; the macro app_state_changes decides about each row.
{%- if app_state_settings().enabled %}
{%- set place = {'table': 'user_app_state', 'column': 'state'} %}

-- name: app_state__plan(run_id, user_ids, most_users, batch_users)
-- What becomes of each user's document, in one snapshot; one row per user who has work. Stores the
-- batches, and the length of each user's arrays.
-- user_ids: NULL for all. most_users: users with rows to write, the first by user_id; NULL for all.
with {{ app_state_source_rows('$2') }},

{{ app_state_changes() }},

change_counts as (
    select
        changes.user_id,
        count(*) filter (where changes.action = 'insert') as inserts,
        count(*) filter (where changes.action = 'update') as updates,
        count(*) filter (where changes.action = 'delete') as deletes,
        count(*) filter (where changes.action = 'noop') as unchanged
    from changes
    group by changes.user_id
),

refusal_counts as (
    select
        refused.user_id,
        count(*) as refusals,
        array_agg(refused.source || ': ' || refused.reason order by refused.source) as reasons
    from refused
    group by refused.user_id
),

entity_counts as (
    select
        arrays.user_id,
        arrays.entity,
        jsonb_array_length(
            case when arrays.array_type = 'array' then arrays.array_value else '[]' end
        ) as item_total
    from arrays
),

item_counts as (
    select
        entity_counts.user_id,
        sum(entity_counts.item_total) as item_total,
        jsonb_object_agg(entity_counts.entity, entity_counts.item_total) as lengths
    from entity_counts
    group by entity_counts.user_id
),

users as (
    select distinct documents.user_id
    from documents
),

counted_users as (
    select
        users.user_id,
        coalesce(change_counts.inserts, 0) as inserts,
        coalesce(change_counts.updates, 0) as updates,
        coalesce(change_counts.deletes, 0) as deletes,
        coalesce(change_counts.unchanged, 0) as unchanged,
        coalesce(refusal_counts.refusals, 0) as refusals,
        coalesce(refusal_counts.reasons, '{}') as reasons,
        coalesce(item_counts.item_total, 0) as item_total,
        coalesce(item_counts.lengths, '{}') as lengths,
        coalesce(change_counts.inserts + change_counts.updates + change_counts.deletes, 0)
            as rows_planned
    from users
    left join change_counts on users.user_id = change_counts.user_id
    left join refusal_counts on users.user_id = refusal_counts.user_id
    left join item_counts on users.user_id = item_counts.user_id
),

-- users without work are not among them, so the next plan with a limit takes the next users
working_users as (
    select
        counted_users.*,
        row_number() over (
            order by {{ binary_text('counted_users.user_id') }}
        ) as place
    from counted_users
    where
        counted_users.rows_planned > 0
        or (cast($3 as bigint) is null and counted_users.refusals > 0)
),

chosen_users as (
    select
        working_users.*,
        (working_users.place - 1) / cast($4 as bigint) as range_no
    from working_users
    where working_users.place <= coalesce($3, working_users.place)
),

ranges as (
    select
        chosen_users.range_no,
        max({{ binary_text('chosen_users.user_id') }}) as last_user,
        sum(chosen_users.item_total) + count(*) as row_total,
        sum(chosen_users.rows_planned) as rows_planned
    from chosen_users
    group by chosen_users.range_no
),

stored_batches as (
    insert into {{ ref('stage_migration_batches') }} (
        run_id, schema_name, table_name, column_name, range_no, range_start, range_end,
        rows_in_batch, rows_planned
    )
    select
        cast($1 as uuid) as run_id,
        {{ app_schema() }} as schema_name,
        {{ literal(place.table) }} as table_name,
        {{ literal(place.column) }} as column_name,
        ranges.range_no,
        array[lag(ranges.last_user) over (order by ranges.range_no)] as range_start,
        array[ranges.last_user] as range_end,
        ranges.row_total,
        ranges.rows_planned
    from ranges
    order by ranges.range_no
    returning batch_id
),

stored_counts as (
    insert into {{ ref('migration_baselines') }} (
        run_id, schema_name, table_name, column_name, tenant, rows, nulls, blanks, row_counts
    )
    select
        cast($1 as uuid) as run_id,
        {{ app_schema() }} as schema_name,
        {{ literal(place.table) }} as table_name,
        {{ literal(place.column) }} as column_name,
        chosen_users.user_id as tenant,
        chosen_users.item_total as rows,
        0 as nulls,
        0 as blanks,
        chosen_users.lengths as row_counts
    from chosen_users
    returning tenant
),

final as (
    select
        chosen_users.user_id,
        chosen_users.inserts,
        chosen_users.updates,
        chosen_users.deletes,
        chosen_users.unchanged,
        chosen_users.refusals,
        chosen_users.reasons,
        chosen_users.rows_planned,
        chosen_users.range_no,
        chosen_users.place
    from chosen_users
    order by chosen_users.place
)

select * from final;
{%- endif %}
