-- Named statements of `trueup bundle plan` and `apply`: what becomes of each row of the files. They
-- write temporary tables only. config: migration-config.json.
{%- if membership_settings().enabled %}

-- name: membership__place()
-- The table and column that an import stands under in the ledger.
select
    {{ literal(membership_settings().tables.member.table) }} as table_name,
    {{ literal(membership_settings().tables.member.id) }} as column_name;

-- name: membership__begin()
-- The temporary tables of an import, for this transaction.
create temporary table membership_rows (
    entity text not null,
    source_row bigint not null,
    cell_texts text[] not null
) on commit drop;
create temporary table membership_decisions (
    entity text not null,
    source_row bigint,
    source_id text,
    row_key text,
    action text not null,
    record jsonb,
    wanted jsonb,
    image jsonb,
    reason text
) on commit drop;

-- name: membership__lacking_columns(config)
-- Columns that a file must have and has not, as sentences.
with {{ membership_lacking_columns('$1') }}

select
    '`columns` in the configuration names columns: docs/membership.md.' as remedy,
    lacking.message
from lacking
order by lacking.message;

-- name: membership__decide_tiers()
-- With --seed-tiers: the tiers of the vocabulary that the application does not have.
with {{ membership_known_tiers() }},

vocabulary_values as (
    select
        tiers.canonical_value,
        tiers.label,
        tiers.sort_rank
    from {{ ref(vocabularies()[membership_settings().vocabulary].canonical_seed) }} as tiers
    where
        not exists (
            select 1 as found
            from known_tiers
            where known_tiers.code = tiers.canonical_value
        )
),

records as (
    select
        'tier' as entity,
        cast(null as bigint) as source_row,
        vocabulary_values.canonical_value as source_id,
        {{ membership_source_id('tier', 'vocabulary_values.canonical_value') }} as target_id,
        cast(null as jsonb) as record,
        cast(null as text) as reason,
        jsonb_build_object(
            {{ literal(membership_settings().tables.tier.code) }},
            vocabulary_values.canonical_value,
            {{ literal(membership_settings().tables.tier.name) }},
            vocabulary_values.label,
            {{ literal(membership_settings().tables.tier.sortOrder) }},
            vocabulary_values.sort_rank
        ) as wanted
    from vocabulary_values
),

wanted_rows as (
    select * from records
),

{{ membership_decided('tier') }};

-- name: membership__decide_members(config)
-- Members by the id that an earlier import gave, else by their address, else new.
with {{ membership_cells('member', '$1') }},

levels as (
    select distinct cells.record ->> 'membershipLevel' as level_name
    from cells
    where cells.record ->> 'membershipLevel' is not null
),

{{ membership_level_tiers('$1') }},

{{ membership_mapped('member') }},

status_codes as (
    select cast({{ membership_column('status', 'code', 'statuses') }} as text) as code
    from {{ membership_table('status') }} as statuses
),

mapped_cells as (
    select
        cells.*,
        level_tiers.tier,
        cells.record ->> 'email' as email,
        coalesce(
            cast($1 as jsonb) -> 'statusMapping' ->> (cells.record ->> 'status'),
            cells.record ->> 'status',
            cast($1 as jsonb) -> 'levelStatusMapping' ->> (cells.record ->> 'membershipLevel')
        ) as status
    from cells
    left join level_tiers on cells.record ->> 'membershipLevel' = level_tiers.level_name
),

first_reasons as (
    select
        mapped_cells.*,
        case
            when mapped_cells.reason is not null then mapped_cells.reason
            when mapped_cells.email is null then 'no_email'
            when
                mapped_cells.email
                !~ '^[^@[:space:]]+@[^@[:space:].]+([.][^@[:space:].]+)+$'
                then 'bad_email: "' || mapped_cells.email || '"'
            when mapped_cells.record ->> 'firstName' is null then 'no_first_name'
            when mapped_cells.record ->> 'lastName' is null then 'no_last_name'
            when
                mapped_cells.status is not null
                and not exists (
                    select 1 as found
                    from status_codes
                    where status_codes.code = mapped_cells.status
                )
                then 'unknown_status: "' || mapped_cells.status || '"'
            else mapped_cells.date_reason
        end as first_reason
    from mapped_cells
),

present_members as (
    select
        cast({{ membership_column('member', 'id', 'application') }} as text) as target_id,
        lower(cast({{ membership_column('member', 'email', 'application') }} as text)) as email_key,
        count(*) over (
            partition by
                lower(cast({{ membership_column('member', 'email', 'application') }} as text))
        ) as owner_total,
        row_number() over (
            partition by
                lower(cast({{ membership_column('member', 'email', 'application') }} as text))
            order by {{ membership_column('member', 'id', 'application') }}
        ) as place
    from {{ membership_table('member') }} as application
),

placed as (
    select
        first_reasons.*,
        present_members.target_id as present_id,
        present_members.owner_total,
        coalesce(
            mapped.target_id,
            present_members.target_id,
            {{ membership_source_id('member', 'first_reasons.source_id') }}
        ) as target_id
    from first_reasons
    left join mapped on first_reasons.source_id = mapped.source_id
    left join present_members
        on
            lower(first_reasons.email) = present_members.email_key
            and present_members.place = 1
),

-- whose the address is already, in the application
second_reasons as (
    select
        placed.*,
        case
            when placed.first_reason is not null then placed.first_reason
            when placed.owner_total > 1
                then 'email_taken: several members have "' || placed.email || '"'
            when
                exists (
                    select 1 as found
                    from mapped as holders
                    where
                        holders.target_id = placed.present_id
                        and holders.source_id <> placed.source_id
                )
                then 'email_taken: "' || placed.email || '" is that of another id'
            when placed.present_id <> placed.target_id
                then
                    'email_taken: "' || placed.email || '" is that of member '
                    || placed.present_id
        end as second_reason
    from placed
),

-- the first row with an address keeps it
owners as (
    select
        second_reasons.source_id,
        lower(second_reasons.email) as email_key,
        row_number() over (
            partition by lower(second_reasons.email)
            order by second_reasons.source_row
        ) as place
    from second_reasons
    where second_reasons.second_reason is null
),

records as (
    select
        'member' as entity,
        second_reasons.source_row,
        second_reasons.source_id,
        second_reasons.target_id,
        jsonb_build_object(
            'email', second_reasons.email,
            'firstName', second_reasons.record -> 'firstName',
            'lastName', second_reasons.record -> 'lastName',
            'phone', second_reasons.record -> 'phone',
            'joinedAt', second_reasons.record -> 'joinedAt',
            'membershipLevel', second_reasons.record -> 'membershipLevel',
            'tier', second_reasons.tier,
            'status', second_reasons.status
        ) as record,
        case
            when second_reasons.second_reason is not null then second_reasons.second_reason
            when owners.source_id <> second_reasons.source_id
                then
                    'email_taken: "' || second_reasons.email || '" is that of id '
                    || owners.source_id
        end as reason
    from second_reasons
    left join owners
        on
            lower(second_reasons.email) = owners.email_key
            and owners.place = 1
),

{{ membership_known_tiers(planned=true) }},

{{ membership_wanted('member') }},

{{ membership_decided('member') }};

-- name: membership__decide_events(config)
-- Events by the id that an earlier import gave, else new.
with {{ membership_cells('event', '$1') }},

{{ membership_mapped('event') }},

records as (
    select
        'event' as entity,
        cells.source_row,
        cells.source_id,
        coalesce(
            mapped.target_id, {{ membership_source_id('event', 'cells.source_id') }}
        ) as target_id,
        cells.record - 'id' as record,
        case
            when cells.reason is not null then cells.reason
            when cells.record ->> 'title' is null then 'no_title'
            when cells.record ->> 'startTime' is null then 'bad_date: startTime is empty'
            else cells.date_reason
        end as reason
    from cells
    left join mapped on cells.source_id = mapped.source_id
),

{{ membership_wanted('event') }},

{{ membership_decided('event') }};

-- name: membership__decide_registrations(config)
-- Registrations of members and events of these files or of earlier imports.
with {{ membership_cells('registration', '$1') }},

{{ membership_mapped('registration') }},

{{ membership_mapped('event', 'mapped_events') }},

{{ membership_mapped('member', 'mapped_members') }},

parents as (
    select
        decisions.entity,
        decisions.source_id,
        decisions.row_key as target_id
    from membership_decisions as decisions
    where decisions.action <> 'refuse'
    union
    select
        'event' as entity,
        mapped_events.source_id,
        mapped_events.target_id
    from mapped_events
    union
    select
        'member' as entity,
        mapped_members.source_id,
        mapped_members.target_id
    from mapped_members
),

mapped_cells as (
    select
        cells.*,
        coalesce(
            cast($1 as jsonb) -> 'registrationStatusMapping' ->> (cells.record ->> 'status'),
            cells.record ->> 'status'
        ) as status
    from cells
),

records as (
    select
        'registration' as entity,
        mapped_cells.source_row,
        mapped_cells.source_id,
        coalesce(
            mapped.target_id,
            {{ membership_source_id('registration', 'mapped_cells.source_id') }}
        ) as target_id,
        jsonb_build_object(
            'eventId', events.target_id,
            'memberId', members.target_id,
            'status', mapped_cells.status,
            'registeredAt', mapped_cells.record -> 'registeredAt'
        ) as record,
        case
            when mapped_cells.reason is not null then mapped_cells.reason
            when events.target_id is null
                then 'no_event: "' || coalesce(mapped_cells.record ->> 'eventId', '') || '"'
            when members.target_id is null
                then 'no_member: "' || coalesce(mapped_cells.record ->> 'memberId', '') || '"'
            else mapped_cells.date_reason
        end as reason
    from mapped_cells
    left join mapped on mapped_cells.source_id = mapped.source_id
    left join parents as events
        on
            events.entity = 'event'
            and mapped_cells.record ->> 'eventId' = events.source_id
    left join parents as members
        on
            members.entity = 'member'
            and mapped_cells.record ->> 'memberId' = members.source_id
),

{{ membership_wanted('registration') }},

{{ membership_decided('registration') }};

-- name: membership__decide_mappings(run_id)
-- Which source became which row, and which run has written it last.
with decisions as (
    select known.*
    from membership_decisions as known
    where
        known.action <> 'refuse'
        and known.entity <> 'tier'
),

{{ membership_mapping_rows('$1') }};

-- name: membership__analyze()
-- So that the planner knows what was decided.
analyze membership_rows;
analyze membership_decisions;

-- name: membership__unknown_tiers()
-- Tiers that members get and that the application does not have, as sentences.
with {{ membership_known_tiers(planned=true) }}

select
    '`--seed-tiers` inserts the tiers of the vocabulary; others are inserted by hand.' as remedy,
    'tier ' || (decisions.record ->> 'tier') || ' does not exist; members who get it: ' || count(*)
    || ', of level ' || min(decisions.record ->> 'membershipLevel') as message
from membership_decisions as decisions
where
    decisions.entity = 'member'
    and decisions.action <> 'refuse'
    and decisions.record ->> 'tier' is not null
    and not exists (
        select 1 as found
        from known_tiers
        where known_tiers.code = decisions.record ->> 'tier'
    )
group by decisions.record ->> 'tier'
order by decisions.record ->> 'tier';

-- name: membership__summary()
-- What an import does, by entity.
select
    decisions.entity,
    count(*) filter (where decisions.action = 'insert') as inserts,
    count(*) filter (where decisions.action = 'update') as updates,
    count(*) filter (where decisions.action = 'noop') as unchanged,
    count(*) filter (where decisions.action = 'refuse') as refusals
from membership_decisions as decisions
group by decisions.entity
order by array_position(
    array['tier', 'member', 'event', 'registration', 'mapping'], decisions.entity
);

-- name: membership__refused(most)
-- Rows that are not imported, and why.
select
    decisions.entity,
    decisions.source_row,
    decisions.source_id,
    decisions.reason
from membership_decisions as decisions
where decisions.action = 'refuse'
order by
    array_position(array['member', 'event', 'registration'], decisions.entity),
    decisions.source_row
limit cast($1 as bigint);

-- name: membership__store_batch(run_id)
-- An import is one batch. Returns the SHA-256 of all decisions; it does not depend on the run.
with lines as (
    select
        decisions.action,
        concat_ws(
            ' ', decisions.entity, decisions.source_row, decisions.row_key, decisions.action,
            case when decisions.entity <> 'mapping' then decisions.wanted end,
            decisions.image, decisions.reason
        ) as decision
    from membership_decisions as decisions
),

listed_decisions as (
    select
        count(*) filter (where lines.action in ('insert', 'update')) as planned_total,
        count(*) as row_total,
        coalesce(string_agg(lines.decision, '; ' order by lines.decision), '') as decisions
    from lines
),

digests as (
    select
        listed_decisions.planned_total,
        listed_decisions.row_total,
        {{ text_digest('listed_decisions.decisions') | indent(8) }} as decisions_sha256
    from listed_decisions
),

stored_batches as (
    insert into {{ ref('stage_migration_batches') }} (
        run_id, schema_name, table_name, column_name, range_no, range_end, rows_in_batch,
        rows_planned
    )
    select
        cast($1 as uuid) as run_id,
        {{ app_schema() }} as schema_name,
        {{ literal(membership_settings().tables.member.table) }} as table_name,
        {{ literal(membership_settings().tables.member.id) }} as column_name,
        0 as range_no,
        array['all'] as range_end,
        digests.row_total as rows_in_batch,
        digests.planned_total as rows_planned
    from digests
    where
        not exists (
            select 1 as found
            from {{ ref('stage_migration_batches') }} as batches
            where batches.run_id = $1
        )
    returning batch_id
),

final as (
    select
        digests.decisions_sha256,
        digests.planned_total
    from digests
)

select * from final;
{%- endif %}
