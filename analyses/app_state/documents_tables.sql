-- Named statements about the table of documents and the tables that they become.
{%- if app_state_settings().enabled %}
{%- set settings = app_state_settings() %}
{%- set documents = target_table({'table': 'user_app_state'}) %}
{%- set targets = app_state_targets() %}

-- name: app_state__objects()
-- The commands that create what is missing of tables, indexes, policies, triggers and the view that
-- puts documents together again, in order.
with objects (place, kind, name, table_name, command) as (
    values
    {%- for object in app_state_objects() %}
    (
        {{ loop.index }},
        {{ literal(object.kind) }},
        {{ literal(object.name) }},
        {{ literal(object.table) }},
        {{ literal(object.command) }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
),

named_objects as (
    select
        objects.*,
        format('%I.%I', {{ app_schema() }}, objects.name) as full_name,
        to_regclass(format('%I.%I', {{ app_schema() }}, objects.table_name)) as table_oid
    from objects
)

select
    named_objects.command,
    case
        when named_objects.kind in ('relation', 'security') then ''
        else named_objects.kind || ' '
    end
    || named_objects.name
    || case
        when named_objects.table_name in ('', named_objects.name) then ''
        else ' of ' || named_objects.table_name
    end as name
from named_objects
where
    not case named_objects.kind
        when 'function' then to_regproc(named_objects.full_name) is not null
        when 'relation' then to_regclass(named_objects.full_name) is not null
        when 'trigger'
            then exists (
                select 1 as found
                from pg_catalog.pg_trigger
                where
                    pg_trigger.tgrelid = named_objects.table_oid
                    and pg_trigger.tgname = named_objects.name
            )
        when 'policy'
            then exists (
                select 1 as found
                from pg_catalog.pg_policy
                where
                    pg_policy.polrelid = named_objects.table_oid
                    and pg_policy.polname = named_objects.name
            )
        else coalesce(
            (
                select pg_class.relrowsecurity
                from pg_catalog.pg_class
                where pg_class.oid = named_objects.table_oid
            ), false
        )
    end
order by named_objects.place;

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
                    from unnest(pg_policy.polroles) as holders (role_oid)
                    where holders.role_oid = 0 or pg_has_role(holders.role_oid, 'usage')
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

-- name: app_state__older()
-- Rows that are not the only one of their user, and rows without a user.
with source_rows as (
    select source_table.*
    from {{ documents }} as source_table
),

{{ app_state_ranked_rows() }}

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
        'delete from {{ documents }} where id in (select id from (select id, row_number()'
        || ' over (partition by user_id order by updated_at desc nulls last, id) as place from'
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
from {{ documents }} as source_table
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
insert into {{ documents }} (id, user_id, state, version, updated_at)
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
{%- endif %}
