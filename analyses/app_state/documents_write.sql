-- The named statement that writes; the macro app_state_changes decides about each row.
{%- if app_state_settings().enabled %}
{%- set own_user = 'wanted_users.user_id' if app_state_settings().user_type == 'text'
    else "cast(nullif(wanted_users.user_id, '') as uuid)" %}
{%- set source_table = target_table({'table': 'user_app_state'}) %}

-- name: app_state__write(batch_id, lease_token, first_place, last_place, key_1)
-- Some users: their newest documents become rows. Rows, images, refusals and progress are one
-- statement: all of it happens, or nothing.
with {{ held_batch('$1', '$2', [
    'batches.schema_name', 'batches.table_name', 'batches.column_name',
]) }},

wanted_users as (
    select (cast(listed.unit as text[]))[1] as user_id
    from
        unnest((cast($5 as text[]))[cast($3 as integer):cast($4 as integer)]) as listed (unit)
),

source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
    inner join wanted_users on source_table.user_id = {{ own_user }}
    union all
    select source_table.*
    from {{ source_table }} as source_table
    where
        source_table.user_id is null
        and exists (
            select 1 as found
            from wanted_users
            where wanted_users.user_id = ''
        )
),

{{ app_state_changes(locks=true) }},

{{ app_state_writes() }},

{{ recorded_images(none, 'array[written_rows.owner_id]', refused=true) }};
{%- endif %}
