-- Named statements that move JSON documents into tables. What the tables are, and what becomes of
-- each row, is decided by the macros app_state_entities and app_state_changes.
{%- if app_state_settings().enabled %}
{%- set settings = app_state_settings() %}
{%- set source_table = source('app_state', 'user_app_state') %}
{%- set documents = target_table({'table': 'user_app_state'}) %}
{%- set targets = app_state_targets() %}
{%- set place = {'table': 'user_app_state', 'column': 'state'} %}
{%- set run_documents -%}
run_users as (
    select baselines.tenant as user_id
    from {{ ref('migration_baselines') }} as baselines
    where baselines.run_id = $1
),

source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
    inner join run_users
        on {{ 'cast(source_table.user_id as text)' if settings.user_type != 'text'
            else 'source_table.user_id' }} = run_users.user_id
),

{{ app_state_documents() }}
{%- endset %}
{%- set behind_users -%}
{{ run_documents }},

-- whose present document is not the one that was written last, and is not refused
behind_users as (
    select
        documents.user_id,
        quarantine.row_key is not null as is_refused,
        images.row_key is not null as is_written
    from documents
    left join {{ target_table({'table': 'documents_rest'}) }} as documents_rest
        on documents.user_id = documents_rest.user_id
    left join {{ ref('migration_quarantine') }} as quarantine
        on
            quarantine.run_id = $1
            and quarantine.row_key = {{ unit_text('array[documents.user_id]') }}
    left join {{ ref('migration_audit') }} as images
        on
            images.run_id = $1
            and images.schema_name = {{ app_schema() }}
            and images.table_name = 'documents_rest'
            and documents.user_id = images.row_key
    where
        documents.reason is null
        and md5(cast(documents.state as text)) is distinct from documents_rest.document_md5
)
{%- endset %}
{%- set verified_users -%}
{{ run_documents }},

-- is_present: the document has not changed since it was written
users as {{ computed_once() }} (
    select
        documents.user_id,
        documents.state,
        documents_rest.arrays,
        documents_rest.refused,
        md5(cast(documents.state as text)) = documents_rest.document_md5 as is_present
    from documents
    inner join {{ target_table({'table': 'documents_rest'}) }} as documents_rest
        on documents.user_id = documents_rest.user_id
    where documents.reason is null
),

-- what became of the rows that the run has written
run_images as {{ computed_once() }} (
    {%- for target in targets %}
    {%- set key = target.key.keys() | first %}
    select
        images.unit[1] as user_id,
        images.table_name,
        images.row_key,
        images.batch_id,
        images.action,
        case
            when application.{{ key }} is null then images.action = 'delete'
            else coalesce({{ row_hash('application') | indent(12) }} = images.after_hash, false)
        end as is_as_written
    from {{ ref('migration_audit') }} as images
    left join {{ target_table(target) }} as application
        on images.row_key = cast(application.{{ key }} as text)
    where
        images.run_id = $1
        and {{ of_target(target, 'images') | indent(8) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

touched_users as (
    select distinct run_images.user_id
    from run_images
    where not run_images.is_as_written
)
{%- endset %}
{%- set undo = [] %}
{%- set undone = targets | reverse | list %}
{%- for target in undone %}
{%- do undo.append('undo__' ~ target.table) %}
{%- endfor %}

{{ run_kind('app_state', {
    'words': {'title': 'Documents', 'noun': 'run', 'done': 'written', 'promised': 'planned'},
    'rules': {
        'picked_by': [
            'app-state apply', 'resume', 'pause', 'cancel', 'status', 'verify', 'report', 'prune',
        ],
        'checks': [
            'batch_tracking', 'array_lengths', 'round_trip', 'dangling_parents', 'images_agree',
        ],
        'by_unit': 20,
        'by_keys': true,
        'lock_timeout_ms': 1000,
        'statement_timeout_ms': 60000,
    },
    'statements': {
        'keys': ['app_state__keys'],
        'change': ['app_state__write'],
        'tell': ['app_state__tell'],
        'reopen': ['app_state__reopen'],
        'missed': ['app_state__missed'],
    },
    'planning': {
        'plan': ['app_state__plan'],
        'check': [
            'app_state__array_lengths', 'app_state__round_trip', 'app_state__dangling_parents',
            'app_state__images_agree',
        ],
        'undo': undo,
    },
}) }}

-- name: app_state__objects()
-- The commands that create what is missing of tables, indexes, policies, triggers and the view that
-- puts documents together again, in order.
with objects (place, name, is_there, command) as (
    {%- for object in app_state_objects() %}
    select
        {{ loop.index }} as place,
        {{ literal(object.name) }} as name,
        exists ({{ object.check }}) as is_there,
        {{ literal(object.command) }} as command
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select
    objects.name,
    objects.command
from objects
where not objects.is_there
order by objects.place;

-- name: app_state__findings()
-- What keeps this role from moving documents. Reads the catalog only, so that it can speak before
-- there is any table.
with wanted (table_name, column_name, is_target) as (
    values
    {%- for target in targets %}
    {%- for column in target.types %}
    ('{{ target.table }}', '{{ column }}', true),
    {%- endfor %}
    {%- endfor %}
    {%- for column in ['id', 'user_id', 'state', 'version', 'updated_at'] %}
    ('user_app_state', '{{ column }}', false){{ ',' if not loop.last }}
    {%- endfor %}
),

named_columns as (
    select
        wanted.column_name,
        wanted.is_target,
        format('%I.%I', {{ app_schema() }}, wanted.table_name) as table_name,
        to_regclass(format('%I.%I', {{ app_schema() }}, wanted.table_name)) as table_oid
    from wanted
),

tables as (
    select distinct
        named_columns.is_target,
        named_columns.table_name,
        named_columns.table_oid
    from named_columns
    where named_columns.table_oid is not null
),

rights (verb) as (
    values
    ('select'),
    ('insert'),
    ('update'),
    ('delete')
),

faults as (
    select
        case
            when named_columns.is_target then 'app_state__no_table'
            else 'app_state__no_source'
        end as code,
        named_columns.table_name || '.' || named_columns.column_name as subject,
        'fail' as status,
        cast('{}' as text[]) as arguments
    from named_columns
    where
        not exists (
            select 1 as found
            from pg_catalog.pg_attribute
            where
                pg_attribute.attrelid = named_columns.table_oid
                and pg_attribute.attname = named_columns.column_name
                and not pg_attribute.attisdropped
        )
        -- of a table that is missing one column is named
        and (named_columns.table_oid is not null or named_columns.column_name = 'user_id')
    union all
    select
        'app_state__no_right' as code,
        tables.table_name as subject,
        'fail' as status,
        array[rights.verb, tables.table_name, cast(current_user as text)] as arguments
    from tables
    cross join rights
    where
        (tables.is_target or rights.verb = 'select')
        and not has_table_privilege(tables.table_oid, rights.verb)
    union all
    select
        'app_state__hidden_rows' as code,
        tables.table_name as subject,
        'fail' as status,
        array['', tables.table_name, cast(current_user as text)] as arguments
    from tables
    where
        row_security_active(tables.table_oid)
        and not exists (
            select 1 as found
            from pg_catalog.pg_policy
            where
                pg_policy.polrelid = tables.table_oid
                and pg_policy.polpermissive
                and (pg_policy.polcmd = '*' or (pg_policy.polcmd = 'r' and not tables.is_target))
                and pg_get_expr(pg_policy.polqual, pg_policy.polrelid) = 'true'
                and coalesce(
                    pg_get_expr(pg_policy.polwithcheck, pg_policy.polrelid), 'true'
                ) = 'true'
                and exists (
                    select 1 as found
                    from unnest(pg_policy.polroles) as roles (role_oid)
                    where roles.role_oid = 0 or pg_has_role(roles.role_oid, 'usage')
                )
        )
    union all
    select
        'app_state__no_index' as code,
        tables.table_name as subject,
        'warn' as status,
        array[tables.table_name] as arguments
    from tables
    inner join pg_catalog.pg_class on tables.table_oid = pg_class.oid
    where
        not tables.is_target
        and pg_class.relpages > 100
        and not exists (
            select 1 as found
            from pg_catalog.pg_index
            inner join pg_catalog.pg_attribute
                on
                    pg_index.indrelid = pg_attribute.attrelid
                    and pg_index.indkey[0] = pg_attribute.attnum
            where
                pg_index.indrelid = tables.table_oid
                and pg_attribute.attname = 'user_id'
                and pg_index.indisvalid
                and pg_index.indpred is null
        )
),

judged as (
    select
        faults.*,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample
    from faults
),

{{ finding_rows('app_state', app_state_words()) }}

select * from final;

-- name: app_state__notes(user_ids)
-- What a person should know of the documents before they are moved; nothing of it is lost.
-- user_ids: NULL for all.
with source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
    where
        cast($1 as text[]) is null
        or cast(source_table.user_id as text) = any(cast($1 as text[]))
),

{{ app_state_documents() }},

{{ app_state_items() }},

{{ app_state_item_ids() }},

{% for entity in app_state_entities() -%}
{{ app_state_rows(entity) }},

{% endfor -%}
marked_rows as (
    {%- for entity in app_state_entities() %}
    select
        {{ entity }}_rows.user_id,
        '{{ entity }}' as entity,
        {{ entity }}_rows.source_position,
        {{ entity }}_rows.extra -> '_trueup' as marks
    from {{ entity }}_rows
    where {{ entity }}_rows.extra ? '_trueup'
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

marks as (
    select
        'app_state__no_ids' as code,
        items.user_id || ' ' || items.entity || '[' || items.source_position || ']' as place
    from items
    where
        items.reason is null
        and not items.has_id
    union all
    select
        'app_state__dangling' as code,
        marked_rows.user_id || ' ' || marked_rows.entity || '[' || marked_rows.source_position
        || '].' || dangling.name as place
    from marked_rows
    cross join lateral jsonb_array_elements_text(marked_rows.marks -> 'dangling') as dangling (name)
    union all
    select
        'app_state__other_types' as code,
        marked_rows.user_id || ' ' || marked_rows.entity || '[' || marked_rows.source_position
        || '].' || kept.name as place
    from marked_rows
    cross join lateral jsonb_each(marked_rows.marks -> 'kept') as kept (name, value)
    where
        kept.name not in ('id', '_trueup')
        and not marked_rows.marks -> 'dangling' ? (kept.value ->> 'of')
        and coalesce(kept.value -> 'was', 'null') = 'null'
        and kept.value -> 'is' not in ('null', '""')
),

counted_rows as (
    select
        count(*) filter (where ranked_rows.place > 1 and ranked_rows.user_id <> '') as older_rows,
        count(distinct ranked_rows.user_id) filter (
            where ranked_rows.place > 1 and ranked_rows.user_id <> ''
        ) as user_total,
        count(*) filter (where ranked_rows.user_id = '') as rows_of_nobody
    from ranked_rows
),

judged as (
    select
        marks.code,
        {{ literal(place.table) }} as subject,
        'warn' as status,
        array[
            cast(count(*) as text),
            array_to_string((array_agg(marks.place order by marks.place))[1:3], ', ')
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        count(*) as rows,
        to_jsonb((array_agg(marks.place order by marks.place))[1:5]) as sample
    from marks
    group by marks.code
    union all
    select
        'app_state__several_rows' as code,
        {{ literal(place.table) }} as subject,
        'warn' as status,
        array[
            cast(counted_rows.user_total as text), cast(counted_rows.rows_of_nobody as text)
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        counted_rows.older_rows + counted_rows.rows_of_nobody as rows,
        cast('[]' as jsonb) as sample
    from counted_rows
    where counted_rows.older_rows + counted_rows.rows_of_nobody > 0
),

{{ finding_rows('app_state', app_state_words()) }}

select * from final;

-- name: app_state__ids(user_ids)
-- The id of each item, old and new.
with source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
    where cast(source_table.user_id as text) = any(cast($1 as text[]))
),

{{ app_state_documents() }},

{{ app_state_items() }}

select
    items.user_id,
    items.entity,
    items.source_id,
    cast(items.target_id as text) as target_id,
    items.reason
from items
order by
    items.user_id asc,
    items.entity asc,
    items.source_position asc;

-- name: app_state__tell(batch_id)
-- What a batch has written: rows of each table beside the lengths of the arrays, and a row with
-- what it belongs to.
with batch_users as (
    select
        baselines.tenant as user_id,
        baselines.row_counts
    from {{ ref('stage_migration_batches') }} as batches
    inner join {{ ref('migration_baselines') }} as baselines
        on
            batches.run_id = baselines.run_id
            and baselines.tenant collate "C" <= batches.range_end[1]
            and (
                batches.range_start[1] is null
                or baselines.tenant collate "C" > batches.range_start[1]
            )
    where batches.batch_id = $1
),

lengths as (
    select
        planned.entity,
        sum(cast(planned.item_total as bigint)) as item_total
    from batch_users
    cross join lateral jsonb_each_text(batch_users.row_counts) as planned (entity, item_total)
    group by planned.entity
),

written as (
    {%- for entity in app_state_entities() %}
    select
        {{ loop.index }} as place,
        '{{ entity }}' as entity,
        count(*) as row_total
    from batch_users
    inner join {{ target_table({'table': entity}) }} as application
        on batch_users.user_id = application.user_id
    where application.source_id is not null
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

samples as (
    select
        'contents ' || contents.id || ' of ' || contents.user_id || ' (' || contents.source_id
        || ') belongs to personas '
        || coalesce(personas.id || ' (' || personas.source_id || ')', 'none') || ' of orgs '
        || coalesce(orgs.id || ' (' || orgs.source_id || ')', 'none') as message
    from batch_users
    inner join {{ target_table({'table': 'contents'}) }} as contents
        on batch_users.user_id = contents.user_id
    left join {{ target_table({'table': 'personas'}) }} as personas
        on contents.persona_id = personas.id
    left join {{ target_table({'table': 'orgs'}) }} as orgs on personas.org_id = orgs.id
    order by
        contents.user_id asc,
        contents.source_position asc
    limit 2
),

final as (
    select
        'Rows of items: ' || string_agg(
            written.entity || ' ' || written.row_total || ' of ' || coalesce(lengths.item_total, 0),
            ', ' order by written.place
        ) as message
    from written
    left join lengths on written.entity = lengths.entity
    union all
    select samples.message
    from samples
)

select * from final;

-- name: app_state__older()
-- Rows that are not the only one of their user, and rows without a user.
with source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
),

{{ app_state_documents() }}

select
    ranked_rows.user_id,
    ranked_rows.row_id,
    ranked_rows.updated_at,
    case
        when ranked_rows.user_id = '' then 'has no user'
        when ranked_rows.place = 1 then 'is kept'
        else 'is older'
    end as standing
from ranked_rows
where
    ranked_rows.row_total > 1
    or ranked_rows.user_id = ''
order by
    ranked_rows.user_id asc,
    ranked_rows.place asc;

-- name: app_state__dedupe(suffix)
-- The commands that keep the newest row of each user, after a copy of the table; is_run: false if
-- the command is for a person, once the application writes one row per user.
with commands (place, is_run, command) as (
    values
    (1, true, 'lock table {{ documents }} in share row exclusive mode'),
    (2, true, 'create table {{ documents }}_%1$s as table {{ documents }}'),
    (
        3, true,
        'delete from {{ documents }} where id in (select id from (select id, row_number() over ('
        || 'partition by user_id order by updated_at desc nulls last, id) as place from'
        || ' {{ documents }} where cast(user_id as text) <> '''') as ranked where place > 1)'
    ),
    (
        4, false,
        'create unique index concurrently user_app_state_one_row on {{ documents }} (user_id)'
    ),
    (
        5, false,
        'alter table {{ documents }} add constraint user_app_state_one_row'
        || ' unique using index user_app_state_one_row'
    )
)

select
    commands.is_run,
    format(commands.command, cast($1 as text)) as command
from commands
order by commands.place;

-- name: app_state__export()
-- Every row, as JSON, for `trueup app-state export`.
select
    cast(
        jsonb_build_object(
            'id', source_table.id,
            'user_id', source_table.user_id,
            'version', source_table.version,
            'updated_at', source_table.updated_at,
            'state', source_table.state
        ) as text
    ) as row_text
from {{ source_table }} as source_table
order by source_table.id;

-- name: app_state__empty_source()
-- Before documents are read from a file: an empty table, in a transaction that is rolled back.
drop table if exists {{ documents }} cascade;
create table {{ documents }} (
    id uuid primary key,
    user_id {{ settings.user_type }},
    state jsonb,
    version text,
    updated_at timestamptz
);

-- name: app_state__load(document)
-- Rows of a file, into an empty table of documents: an array of {user_id, state, ...}, or what
-- app_state__export has written.
insert into {{ source_table }} (id, user_id, state, version, updated_at)
select
    coalesce(
        cast(listed.document ->> 'id' as uuid), cast(md5(cast(listed.place as text)) as uuid)
    ) as id,
    cast(listed.document ->> 'user_id' as {{ settings.user_type }}) as user_id,
    listed.document -> 'state' as state,
    listed.document ->> 'version' as version,
    cast(listed.document ->> 'updated_at' as timestamptz) as updated_at
from
    jsonb_array_elements(
        case
            when jsonb_typeof(cast($1 as jsonb)) = 'object' then cast($1 as jsonb) -> 'rows'
            else cast($1 as jsonb)
        end
    ) with ordinality as listed (document, place);

-- name: app_state__plan(run_id, user_ids, most_users, batch_users)
-- What becomes of each user's document, in one snapshot; one row per user who has work. Stores the
-- batches, and the length of each user's arrays.
-- user_ids: NULL for all. most_users: users with rows to write, the first by user_id; NULL for all.
with source_rows as (
    select source_table.*
    from {{ source_table }} as source_table
    where
        cast($2 as text[]) is null
        or cast(source_table.user_id as text) = any(cast($2 as text[]))
),

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
        row_number() over (order by counted_users.user_id collate "C") as place
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
        max(chosen_users.user_id collate "C") as last_user,
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
)

select
    chosen_users.user_id,
    chosen_users.inserts,
    chosen_users.updates,
    chosen_users.deletes,
    chosen_users.unchanged,
    chosen_users.refusals,
    chosen_users.reasons,
    chosen_users.rows_planned,
    chosen_users.range_no
from chosen_users
order by chosen_users.place;

-- name: app_state__keys(batch_ids)
-- The users of batches: each is a transaction of its own.
select
    batches.batch_id,
    count(*) as key_total,
    array_agg(
        cast(array[baselines.tenant] as text) order by baselines.tenant collate "C"
    ) as key_1
from {{ ref('stage_migration_batches') }} as batches
inner join {{ ref('migration_baselines') }} as baselines
    on
        batches.run_id = baselines.run_id
        and batches.table_name = baselines.table_name
        and batches.column_name = baselines.column_name
        and baselines.tenant collate "C" <= batches.range_end[1]
        and (
            batches.range_start[1] is null
            or baselines.tenant collate "C" > batches.range_start[1]
        )
where batches.batch_id = any(cast($1 as bigint[]))
group by batches.batch_id;

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
    inner join wanted_users
        {%- if settings.user_type == 'text' %}
        on source_table.user_id = wanted_users.user_id
        {%- else %}
        on source_table.user_id = cast(nullif(wanted_users.user_id, '') as uuid)
        {%- endif %}
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

{% for target in targets -%}
{%- set table = target.table -%}
{%- set key = target.key.keys() | first -%}
{{ table }}_put as (
    insert into {{ target_table(target) }} as application (
        {%- for column in target.types %}
        {{ quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    select
        {%- for column in target.types %}
        {{ table }}_changes.{{ quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ table }}_changes
    cross join fence
    where {{ table }}_changes.action in ('insert', 'update')
    on conflict ({{ key }}) do update
        set
            {%- for column in target.columns %}
            {{ quoted(column) }} = excluded.{{ quoted(column) }}{{ ',' if not loop.last }}
            {%- endfor %}
        where
            exists (
                select 1 as found
                from {{ table }}_changes as seen
                where
                    seen.{{ key }} = application.{{ key }}
                    and seen.action = 'update'
            )
    returning
        application.{{ key }} as row_key,
        {{ row_hash('application') | indent(8) }} as after_hash
),

{{ table }}_removed as (
    delete from {{ target_table(target) }} as application
    using {{ table }}_changes, fence
    where
        cast(application.{{ key }} as text) = {{ table }}_changes.row_key
        and {{ table }}_changes.action = 'delete'
    returning application.{{ key }} as row_key
),

{% endfor -%}
written_rows as (
    {%- for target in targets %}
    {%- set table = target.table %}
    select
        {{ table }}_changes.owner_id,
        '{{ table }}' as table_name,
        {{ table }}_changes.row_key,
        {{ table }}_changes.source_id,
        to_jsonb({{ table }}_changes.image_row) as before_image,
        {{ table }}_put.after_hash
    from {{ table }}_put
    inner join {{ table }}_changes
        on cast({{ table }}_put.row_key as text) = {{ table }}_changes.row_key
    union all
    select
        {{ table }}_changes.owner_id,
        '{{ table }}' as table_name,
        {{ table }}_changes.row_key,
        {{ table }}_changes.source_id,
        to_jsonb({{ table }}_changes.image_row) as before_image,
        cast(null as text) as after_hash
    from {{ table }}_removed
    inner join {{ table }}_changes
        on cast({{ table }}_removed.row_key as text) = {{ table }}_changes.row_key
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

{{ recorded_images(none, 'array[written_rows.owner_id]', refused=true) }};

-- name: app_state__reopen(run_id, lease_token)
-- Batches with a user whose document has changed since it was read are open again.
with {{ behind_users }},

open_batches as (
    select distinct batches.batch_id
    from behind_users
    inner join {{ ref('stage_migration_batches') }} as batches
        on
            batches.run_id = $1
            and behind_users.user_id collate "C" <= batches.range_end[1]
            and (
                batches.range_start[1] is null
                or behind_users.user_id collate "C" > batches.range_start[1]
            )
    where not behind_users.is_refused
)

{{ reopened_batches('$2', own=true) }};

-- name: app_state__missed(run_id)
-- At the very end: documents that the run has not written, or not as they are now.
with {{ behind_users }}

select
    'documents' as written_table,
    count(*) as row_count,
    count(*) filter (where not behind_users.is_written) as never_changed,
    min(behind_users.user_id) as example
from behind_users
where not behind_users.is_refused
having count(*) > 0;

-- name: app_state__array_lengths(run_id, most)
-- Each element of an array is a row or is kept as refused, per user and table.
with {{ verified_users }},

lengths as (
    select
        users.user_id,
        users.refused,
        named.entity,
        jsonb_array_length(users.state -> named.array_key) as item_total
    from users
    cross join lateral jsonb_each_text(users.arrays) as named (entity, array_key)
    where users.is_present
),

row_counts as (
    {%- for entity in app_state_entities() %}
    select
        application.user_id,
        '{{ entity }}' as entity,
        count(*) as row_total
    from users
    inner join {{ target_table({'table': entity}) }} as application
        on users.user_id = application.user_id
    where application.source_id is not null
    group by application.user_id
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

refused_counts as (
    select
        users.user_id,
        kept.item ->> 'entity' as entity,
        count(*) as refused_total
    from users
    cross join lateral jsonb_array_elements(users.refused) as kept (item)
    group by
        users.user_id,
        kept.item ->> 'entity'
),

compared as (
    select
        lengths.user_id,
        lengths.entity,
        lengths.item_total,
        coalesce(row_counts.row_total, 0) as row_total,
        coalesce(refused_counts.refused_total, 0) as refused_total,
        touched_users.user_id is not null as is_touched
    from lengths
    left join row_counts
        on
            lengths.user_id = row_counts.user_id
            and lengths.entity = row_counts.entity
    left join refused_counts
        on
            lengths.user_id = refused_counts.user_id
            and lengths.entity = refused_counts.entity
    left join touched_users on lengths.user_id = touched_users.user_id
),

totals as (
    select sum(compared.item_total) as looked_at
    from compared
),

offenders as (
    select
        compared.user_id,
        case when compared.is_touched then 'warn' else 'fail' end as status,
        compared.user_id || ', ' || compared.entity || ': ' || compared.item_total || ' items, '
        || compared.row_total || ' rows, ' || compared.refused_total || ' refused'
        || case when compared.is_touched then '; rows were changed since' else '' end as message
    from compared
    where compared.item_total <> compared.row_total + compared.refused_total
),

{{ app_state_answer('array_lengths', 'items') }};

-- name: app_state__round_trip(run_id, most)
-- The document that the tables give back is the original, key by key.
with {{ verified_users }},

compared as (
    select
        users.user_id,
        users.state,
        users.is_present,
        again.state as state_again,
        touched_users.user_id is not null as is_touched
    from users
    left join {{ target_table({'table': 'app_state_documents'}) }} as again
        on users.user_id = again.user_id
    left join touched_users on users.user_id = touched_users.user_id
),

totals as (
    select count(*) as looked_at
    from compared
),

offenders as (
    select
        compared.user_id,
        case
            when compared.is_present and not compared.is_touched then 'fail'
            else 'warn'
        end as status,
        compared.user_id || case
            when not compared.is_present then ': the document was changed since'
            when compared.is_touched then ': rows were changed since'
            else ': differs from its document in ' || array_to_string(
                array(
                    select coalesce(was.name, now_is.name)
                    from jsonb_each(compared.state) as was (name, value)
                    full join jsonb_each(compared.state_again) as now_is (name, value)
                        on was.name = now_is.name
                    where was.value is distinct from now_is.value
                ), ', '
            )
        end as message
    from compared
    where compared.state is distinct from compared.state_again
),

{{ app_state_answer('round_trip', 'documents') }};

-- name: app_state__dangling_parents(run_id, most)
-- References to a parent that the document does not have: NULL in the table, flagged in extra. And
-- rows whose parent is gone although a foreign key forbids it.
with {{ verified_users }},

links as (
    {%- for name, known in app_state_entities().items() %}
    {%- set outer = loop %}
    {%- for column, parent in known.parents.items() %}
    select
        users.user_id,
        '{{ name }}.{{ column }}' as link_name,
        application.{{ column }} is not null and parents.id is null as is_orphan,
        application.{{ column }} is null
        and application.extra #> '{_trueup,dangling}' ? '{{ known.parent_keys[column] }}'
            as is_dangling
    from users
    inner join {{ target_table({'table': name}) }} as application
        on users.user_id = application.user_id
    left join {{ target_table({'table': parent}) }} as parents
        on application.{{ column }} = parents.id
    {%- if not (outer.last and loop.last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
),

totals as (
    select count(*) as looked_at
    from links
),

offenders as (
    select
        links.user_id,
        case when links.is_orphan then 'fail' else 'warn' end as status,
        links.user_id || ', ' || links.link_name || ': ' || case
            when links.is_orphan then 'the parent is gone'
            else 'the document has no such parent'
        end as message
    from links
    where links.is_orphan or links.is_dangling
),

{{ app_state_answer('dangling_parents', 'references') }};

-- name: app_state__images_agree(run_id, most)
-- As many images as rows that the batches have counted, and every row as the run left it.
with {{ verified_users }},

batch_counts as (
    select
        batches.batch_id,
        batches.rows_updated,
        count(images.row_key) as image_total
    from {{ ref('stage_migration_batches') }} as batches
    left join {{ ref('migration_audit') }} as images on batches.batch_id = images.batch_id
    where batches.run_id = $1
    group by
        batches.batch_id,
        batches.rows_updated
),

totals as (
    select count(*) as looked_at
    from run_images
),

offenders as (
    select
        run_images.user_id,
        'warn' as status,
        run_images.table_name || ' ' || run_images.row_key || ' of ' || run_images.user_id
        || ' was changed since' as message
    from run_images
    where not run_images.is_as_written
    union all
    select
        null as user_id,
        'fail' as status,
        'batch ' || batch_counts.batch_id || ': ' || batch_counts.rows_updated
        || ' rows counted, ' || batch_counts.image_total || ' images' as message
    from batch_counts
    where batch_counts.rows_updated <> batch_counts.image_total
),

{{ app_state_answer('images_agree', 'images') }};

{{ row_image_undo(place, undone) }}
{%- endif %}
