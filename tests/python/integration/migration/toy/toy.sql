{%- set place = {'table': 'toy_documents', 'column': 'body', 'key': {'id': 'bigint'}} %}
{%- set items = {'table': 'toy_items', 'key': {'id': 'text'}, 'columns': ['order_id', 'name']} %}
{%- set orders = {'table': 'toy_orders', 'key': {'id': 'bigint'}, 'columns': ['customer', 'at'],
    'children': {'toy_items': {'order_id': 'id'}}} %}
{%- set unit = listed_unit('$3', '$4') %}
{{ run_kind('toy', {
    'words': {'title': 'Toy', 'noun': 'toy run', 'done': 'written'},
    'rules': {'by_unit': true, 'lock_timeout_ms': 1000, 'statement_timeout_ms': 60000},
    'statements': {'change': ['toy_orders', 'toy_items'], 'keys': ['toy_keys']},
    'planning': {'plan': ['toy_plan'], 'undo': ['undo__toy_items', 'undo__toy_orders']},
}) }}

-- name: toy_plan(run_id)
insert into {{ ref('stage_migration_batches') }} (
    run_id, schema_name, table_name, column_name, range_no, range_end, rows_in_batch, rows_planned
)
select $1, 'public', 'toy_documents', 'body', id / 10, array[cast(max(id) as text)], count(*),
    sum(1 + jsonb_array_length(body -> 'items'))
from public.toy_documents group by id / 10 order by 4;

-- name: toy_keys(batch_ids)
select b.batch_id, count(*) as key_total,
    array_agg(cast({{ key_texts(place.key, 'd') }} as text) order by d.id) as key_1
from {{ ref('stage_migration_batches') }} as b
inner join public.toy_documents as d on d.id / 10 = b.range_no
where b.batch_id = any($1) group by b.batch_id;

-- name: toy_orders(batch_id, lease_token, first_place, key_1)
with {{ held_batch('$1', '$2') }},
older as (
    select o.id, to_jsonb(o) as image from public.toy_orders as o
    where o.id = {{ key_values(place.key, unit) }} for update
),
written as (
    insert into public.toy_orders as application (id, customer)
    select d.id, d.body ->> 'customer' from fence cross join public.toy_documents as d
    left join older on d.id = older.id
    where d.id = {{ key_values(place.key, unit) }}
    on conflict (id) do update set customer = excluded.customer, at = now()
    returning application.id, {{ row_hash('application') }} as hash
),
written_rows as (
    select cast(w.id as text) as row_key, older.image as before_image, w.hash as after_hash
    from written as w left join older on w.id = older.id
),
{{ recorded_images(orders, unit) }};

-- name: toy_items(batch_id, lease_token, first_place, key_1)
with {{ held_batch('$1', '$2') }},
written_rows as (
    insert into public.toy_items as application (id, order_id, name)
    select d.id || '-' || i.place, d.id, i.name from fence cross join public.toy_documents as d
    cross join jsonb_array_elements_text(d.body -> 'items') with ordinality as i (name, place)
    where d.id = {{ key_values(place.key, unit) }}
    on conflict do nothing
    returning {{ key_text(items.key, 'application') }} as row_key,
        cast(null as jsonb) as before_image, {{ row_hash('application') }} as after_hash
),
{{ recorded_images(items, unit) }};

{{ row_image_undo(place, [items, orders]) }}
