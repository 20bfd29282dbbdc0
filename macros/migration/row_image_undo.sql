{#-
    The named statements that take back what a kind of run has written to migration_audit: a run of
    kind `undo` runs them. One undo__<table> per table; and for the place of the run plan_undo,
    reopen_undo, store_image_conflicts and rows_not_undone.

    place: the table and column that the run stands under in the ledger.
    targets: the tables that it writes, in the order in which they are undone. `columns` are those
        that are put back, without the key; `children` the tables that refer to this one, which come
        before it: {table: {column: column of this table}}.

    row_image_undo(
        {'table': 'documents', 'column': 'body'},
        [{'table': 'items', 'key': {'id': 'bigint'}, 'columns': ['order_id', 'name']},
         {'table': 'orders', 'key': {'id': 'bigint'}, 'columns': ['customer'],
          'children': {'items': {'order_id': 'id'}}}]) →
        -- name: undo__items(batch_id, lease_token, first_place, key_1) ...

    A row is undone only if it still is what the run left. Traps: a column of type json comes back
    without its spaces; a row that was deleted comes back before its children only if its table
    comes before theirs.
-#}
{%- macro row_image_undo(place, targets) -%}
{%- set known = {} %}
{%- for target in targets %}
{%- for child in target.get('children', {}) if child not in known %}
{{- trueup.raise_wrong_input('row_image_undo ' ~ target.table, 'child', child, known.keys()) }}
{%- endfor %}
{%- do known.update({target.table: target}) %}
{%- endfor %}
{%- for target in targets %}
{%- set key = trueup.numbered_key(target.key) %}
{%- set table = trueup.target_table(target) %}
{%- set same_key -%}
({{ trueup.key_columns(target.key, 'application') }})
= ({{ trueup.key_columns(key, 'present_rows') }})
and {{ trueup.row_hash('application') }} = present_rows.after_hash
{%- endset -%}
{{- '\n\n' if not loop.first -}}
-- name: undo__{{ target.table }}(batch_id, lease_token, first_place, key_1)
-- One unit of an undo, one table of it: rows that are what the run left become what they were.
-- Rows, images and progress are one statement: all of it happens, or nothing.
with {{ trueup.held_batch('$1', '$2', ['batches.reverts_batch_id']) }},

undone_images as (
    select
        images.row_key,
        images.action,
        images.before_image,
        images.after_hash,
        {{ trueup.key_from_text(target.key, 'images.row_key', numbered=true,
            separator=',\n        ') }}
    from fence
    inner join {{ ref('migration_audit') }} as images
        on fence.reverts_batch_id = images.batch_id
    where
        images.unit = {{ trueup.listed_unit('$3', '$4') }}
        and {{ trueup.of_target(target, 'images') | indent(8) }}
),

present_rows as {{ trueup.computed_once() }} (
    select
        undone_images.*,
        to_jsonb(application) as image_now
    from undone_images
    inner join {{ table }} as application
        on
            ({{ trueup.key_columns(target.key, 'application') }})
            = ({{ trueup.key_columns(key, 'undone_images') }})
    where
        {{ trueup.row_hash('application') | indent(8) }} = undone_images.after_hash
),

removed_rows as (
    delete from {{ table }} as application
    using present_rows
    where
        present_rows.action = 'insert'
        and {{ same_key | indent(8) }}
        {%- for child, columns in target.get('children', {}).items() %}
        and not exists (
            select 1 as found
            from {{ trueup.target_table(known[child]) }} as children
            where
                {%- for column, own in columns.items() %}
                {{ 'and ' if not loop.first }}children.{{ trueup.quoted(column) }}
                {{- ' = application.' ~ trueup.quoted(own) }}
                {%- endfor %}
        )
        {%- endfor %}
    returning
        present_rows.row_key,
        present_rows.image_now as before_image,
        cast(null as text) as after_hash
),

restored_rows as (
    update {{ table }} as application
    set
        {%- for column in target.columns %}
        {{ trueup.quoted(column) }} = former.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from present_rows
    cross join
        lateral jsonb_populate_record(
            cast(null as {{ table }}), present_rows.before_image
        ) as former
    where
        present_rows.action = 'update'
        and {{ same_key | indent(8) }}
    returning
        present_rows.row_key,
        present_rows.image_now as before_image,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

{%- set columns = (target.key.keys() | list) + target.columns %}

returned_rows as (
    insert into {{ table }} as application (
        {%- for column in columns %}
        {{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    overriding system value
    select
        {%- for column in columns %}
        former.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from undone_images
    cross join
        lateral jsonb_populate_record(
            cast(null as {{ table }}), undone_images.before_image
        ) as former
    where undone_images.action = 'delete'
    on conflict do nothing
    returning
        {{ trueup.key_text(target.key, 'application') | indent(8) }} as row_key,
        cast(null as jsonb) as before_image,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

written_rows as (
    select * from removed_rows
    union all
    select * from restored_rows
    union all
    select * from returned_rows
),

{{ trueup.recorded_images(target, trueup.listed_unit('$3', '$4')) }};
{%- endfor %}
{%- set of_place -%}
batches.table_name = {{ trueup.literal(place.table) }}
and batches.column_name = {{ trueup.literal(place.column) }}
{%- endset %}
{%- set of_undo -%}
batches as (
    select * from {{ ref('stage_migration_batches') }}
),

undone_batches as (
    select batches.reverts_batch_id as batch_id
    from batches
    where
        batches.run_id = $1
        and {{ of_place | indent(8) }}
),

{{ trueup.judged_images(targets, '$1') }}
{%- endset %}

-- name: {{ trueup.statement_name('plan_undo', place) }}(run_id, reverts_run_id, reverts_batch_id,
--     examples, is_kept)
-- What would come back, and what is in the way? The batches of the undo, newest first, are kept if
-- that is wanted. One row, as plan_reverts has it.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

undone_batches as (
    select batches.batch_id
    from batches
    where
        batches.run_id = $2
        and batches.batch_id = coalesce($3, batches.batch_id)
        and {{ of_place | indent(8) }}
),

{{ trueup.judged_images(targets, '$1') }},

counted_batches as (
    select
        judged_rows.batch_id,
        count(*) as row_count,
        count(*) filter (where judged_rows.reason is null) as planned_count
    from judged_rows
    group by judged_rows.batch_id
),

stored_batches as (
    insert into {{ ref('stage_migration_batches') }} (
        run_id, schema_name, table_name, column_name, range_no, range_end, rows_in_batch,
        rows_planned, reverts_batch_id
    )
    select
        cast($1 as uuid) as run_id,
        batches.schema_name,
        batches.table_name,
        batches.column_name,
        batches.range_no,
        batches.range_end,
        counted_batches.row_count as rows_in_batch,
        counted_batches.planned_count as rows_planned,
        batches.batch_id as reverts_batch_id
    from counted_batches
    inner join batches
        on counted_batches.batch_id = batches.batch_id
    where cast($5 as boolean)
    order by batches.batch_id desc
    returning batch_id
),

restored_values as (
    select
        judged_rows.table_name || ': ' || judged_rows.action as value_now,
        'taken back' as value_restored,
        count(*) as row_count
    from judged_rows
    where judged_rows.reason is null
    group by
        judged_rows.table_name,
        judged_rows.action
),

conflicts as (
    select
        judged_rows.table_name,
        judged_rows.row_key,
        cast(null as text) as tenant,
        cast(judged_rows.before_image as text) as value_before,
        cast(null as text) as value_written,
        cast(judged_rows.image_now as text) as value_now,
        judged_rows.reason,
        row_number() over (
            partition by judged_rows.reason
            order by judged_rows.table_name, judged_rows.row_key
        ) as place
    from judged_rows
    where judged_rows.reason is not null
),

{{ trueup.rollback_answer(place, '$4', has_tables=true) }};

-- name: {{ trueup.statement_name('reopen_undo', place) }}(run_id, lease_token)
-- Batches with a row that can still be undone are open again; units in quarantine stay there.
with {{ of_undo }},

open_batches as (
    select distinct judged_rows.batch_id
    from judged_rows
    where
        judged_rows.reason is null
        and not exists (
            select 1 as found
            from {{ ref('migration_quarantine') }} as quarantine
            where
                quarantine.run_id = $1
                and quarantine.row_key = {{ trueup.unit_text('judged_rows.unit') | indent(16) }}
        )
)

{{ trueup.reopened_batches('$2') }};

-- name: {{ trueup.statement_name('store_image_conflicts', place) }}(run_id)
-- At the end: the rows that were left alone. Once per row, although the run may end several times.
with {{ of_undo }}

insert into {{ ref('migration_conflicts') }} (
    run_id, batch_id, schema_name, table_name, row_key, value_before, value_now, reason
)
select
    cast($1 as uuid) as run_id,
    batches.batch_id,
    judged_rows.schema_name,
    judged_rows.table_name,
    judged_rows.row_key,
    cast(judged_rows.before_image as text) as value_before,
    cast(judged_rows.image_now as text) as value_now,
    judged_rows.reason
from judged_rows
inner join batches
    on
        batches.run_id = $1
        and judged_rows.batch_id = batches.reverts_batch_id
where
    judged_rows.reason is not null
    and not exists (
        select 1 as found
        from {{ ref('migration_conflicts') }} as known
        where
            known.run_id = $1
            and known.table_name = judged_rows.table_name
            and known.row_key = judged_rows.row_key
    )
returning row_key;

-- name: {{ trueup.statement_name('rows_not_undone', place) }}(run_id)
-- At the very end: rows that could have been undone and were not, by their table.
with {{ of_undo }}

select
    judged_rows.table_name as written_table,
    count(*) as row_count,
    count(*) as never_changed,
    min(judged_rows.row_key) as example
from judged_rows
where judged_rows.reason is null
group by judged_rows.table_name
order by judged_rows.table_name;
{%- endmacro -%}
