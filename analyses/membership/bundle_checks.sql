-- The checks of `trueup bundle verify`, a named statement each. report, policies and config are the
-- bundle's files, jsonb; most: the number of offenders that are listed.
{%- if membership_settings().enabled %}
{%- set known = membership_settings() %}

{{ membership_count_check('member') }}

{{ membership_count_check('event') }}

{{ membership_count_check('registration') }}

-- name: membership__tier_distribution(report, config, most)
-- How the members of the bundle spread over the tiers, and whose tier is not that of their level.
with {{ membership_records('member', '$1') }},

levels as (
    select distinct records.record ->> 'membershipLevel' as level_name
    from records
    where records.record ->> 'membershipLevel' is not null
),

{{ membership_level_tiers('$2') }},

members as (
    select
        records.source_id,
        records.target_id,
        level_tiers.level_name,
        coalesce(level_tiers.tier, records.record ->> 'tier') as tier_of_level,
        case
            when records.record ->> 'membershipLevel' is not null
                then coalesce(level_tiers.decided_by, 'nothing')
        end as decided_by,
        cast({{ membership_column('tier', 'code', 'tiers') }} as text) as tier,
        {{ membership_column('tier', 'sortOrder', 'tiers') }} as sort_order
    from records
    inner join {{ membership_table('member') }} as application
        on
            records.target_id
            = cast({{ membership_column('member', 'id', 'application') }} as text)
    left join {{ membership_table('tier') }} as tiers
        on
            {{ membership_column('member', 'tier', 'application') }}
            = {{ membership_column('tier', 'id', 'tiers') }}
    left join level_tiers on records.record ->> 'membershipLevel' = level_tiers.level_name
),

tier_counts as (
    select
        members.tier,
        min(members.sort_order) as sort_order,
        count(*) as member_total
    from members
    group by members.tier
),

totals as (
    select
        count(*) as member_total,
        count(distinct members.tier) as tier_total,
        count(members.tier) as with_tier,
        max(members.tier) as any_tier,
        count(*) filter (
            where
            members.tier_of_level is distinct from members.tier
            and members.tier_of_level is not null
        ) as differing
    from members
),

told as (
    select
        string_agg(
            coalesce(tier_counts.tier, 'none') || ': ' || tier_counts.member_total, ', '
            order by tier_counts.sort_order asc nulls last, tier_counts.tier asc
        ) as distribution,
        jsonb_agg(
            jsonb_build_object(
                'status', 'info',
                'tier', coalesce(tier_counts.tier, 'none'),
                'members', tier_counts.member_total,
                'share', round(100.0 * tier_counts.member_total / totals.member_total, 1)
            )
            order by tier_counts.sort_order asc nulls last, tier_counts.tier asc
        ) as counted
    from tier_counts
    cross join totals
),

-- levels that only _default decides, or nothing: worth a look
defaults as (
    select
        members.level_name,
        members.tier_of_level,
        members.decided_by,
        count(*) as member_total
    from members
    where members.decided_by in ('default', 'nothing')
    group by
        members.level_name,
        members.tier_of_level,
        members.decided_by
),

told_defaults as (
    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', 'info',
                    'level', defaults.level_name,
                    'tier', defaults.tier_of_level,
                    'members', defaults.member_total,
                    'decided_by', defaults.decided_by
                )
                order by defaults.member_total desc, defaults.level_name asc
            ),
            '[]'
        ) as counted
    from defaults
),

-- which tier is stored in place of which
confusions as (
    select
        members.level_name,
        members.tier_of_level,
        members.tier,
        count(*) as member_total
    from members
    where
        members.tier_of_level is distinct from members.tier
        and members.tier_of_level is not null
    group by
        members.level_name,
        members.tier_of_level,
        members.tier
),

told_confusions as (
    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', 'info',
                    'level', confusions.level_name,
                    'tier', confusions.tier_of_level,
                    'stored', coalesce(confusions.tier, 'none'),
                    'members', confusions.member_total
                )
                order by confusions.member_total desc, confusions.level_name asc
            ),
            '[]'
        ) as counted
    from confusions
),

offenders as (
    select
        'fail' as status,
        'member' as entity,
        members.source_id,
        members.target_id,
        'level ' || coalesce(members.level_name, 'none') || ' gives ' || members.tier_of_level
        || ', stored is '
        || coalesce(members.tier, 'none') as message
    from members
    where
        members.tier_of_level is distinct from members.tier
        and members.tier_of_level is not null
),

{{ membership_listed('$3') }},

judged as (
    select
        told.distribution as found,
        listed.row_total as rows,
        'every member has the tier of its level' as expected,
        case
            when totals.member_total = 0 then 'info'
            when totals.with_tier = 0 or totals.differing > 0 then 'fail'
            when totals.tier_total = 1 and totals.with_tier = totals.member_total then 'warn'
            else 'ok'
        end as status,
        case
            when totals.member_total = 0 then ''
            when totals.with_tier = 0 then 'none'
            when totals.differing > 0 then 'differs'
            else ''
        end as outcome,
        array[told.distribution, totals.any_tier, cast(totals.differing as text)] as arguments,
        listed.sample || coalesce(told.counted, '[]') || told_defaults.counted
        || told_confusions.counted as sample
    from totals
    cross join told
    cross join told_defaults
    cross join told_confusions
    cross join listed
),

{{ membership_answer('tier_distribution') }}

-- name: membership__tier_coverage(report, most)
-- How many members of the bundle have a tier.
with {{ membership_records('member', '$1') }},

members as (
    select
        records.source_id,
        records.target_id,
        {{ membership_column('member', 'tier', 'application') }} is not null as has_tier
    from records
    inner join {{ membership_table('member') }} as application
        on
            records.target_id
            = cast({{ membership_column('member', 'id', 'application') }} as text)
),

totals as (
    select
        count(*) as member_total,
        count(*) filter (where members.has_tier) as with_tier,
        cast(count(*) filter (where members.has_tier) as numeric)
        / nullif(count(*), 0) as coverage
    from members
),

offenders as (
    select
        'warn' as status,
        'member' as entity,
        members.source_id,
        members.target_id,
        'member ' || members.source_id || ' has no tier' as message
    from members
    where not members.has_tier
),

{{ membership_listed('$2') }},

judged as (
    select
        case
            when totals.member_total = 0 then 'info'
            when totals.coverage < {{ known.tier_coverage_floor }} then 'fail'
            when totals.coverage < {{ known.tier_coverage }} then 'warn'
            else 'ok'
        end as status,
        '' as outcome,
        array[
            cast(trunc(100 * totals.coverage, 1) as text),
            cast(totals.with_tier as text),
            cast(totals.member_total as text),
            cast(totals.member_total - totals.with_tier as text)
        ] as arguments,
        'at least {{ 100 * known.tier_coverage }} %' as expected,
        trunc(100 * totals.coverage, 1) || ' %' as found,
        listed.row_total as rows,
        listed.sample
    from totals
    cross join listed
),

{{ membership_answer('tier_coverage') }}

-- name: membership__orphaned_registrations(most)
-- Registrations, of any origin, without their member or their event. Looks at the rows, so that it
-- also sees what was written while the foreign keys were dropped.
with found_registrations as (
    select
        cast({{ membership_column('registration', 'id', 'application') }} as text) as target_id,
        case
            when {{ membership_column('member', 'id', 'members') }} is null
                then ' has no member ' || coalesce(
                    cast(
                        {{ membership_column('registration', 'memberId', 'application') }} as text
                    ), ''
                )
            else ''
        end
        || case
            when {{ membership_column('event', 'id', 'events') }} is null
                then ' has no event ' || coalesce(
                    cast(
                        {{ membership_column('registration', 'eventId', 'application') }} as text
                    ), ''
                )
            else ''
        end as lack
    from {{ membership_table('registration') }} as application
    left join {{ membership_table('member') }} as members
        on
            {{ membership_column('registration', 'memberId', 'application') }}
            = {{ membership_column('member', 'id', 'members') }}
    left join {{ membership_table('event') }} as events
        on
            {{ membership_column('registration', 'eventId', 'application') }}
            = {{ membership_column('event', 'id', 'events') }}
),

offenders as (
    select
        'fail' as status,
        'registration' as entity,
        cast(null as text) as source_id,
        found_registrations.target_id,
        'registration ' || found_registrations.target_id || found_registrations.lack as message
    from found_registrations
    where found_registrations.lack <> ''
),

{{ membership_listed('$1') }},

judged as (
    select
        listed.row_total as rows,
        listed.sample,
        '' as outcome,
        '0' as expected,
        cast(listed.row_total as text) as found,
        case when listed.row_total = 0 then 'ok' else 'fail' end as status,
        array[cast(listed.row_total as text)] as arguments
    from listed
),

{{ membership_answer('orphaned_registrations') }}

-- name: membership__duplicate_id_mappings(report, most)
-- No source has two targets, and no target has two sources: in the bundle and in the database.
with {{ membership_pairs('$1') }},

{{ membership_duplicates() }},

{{ membership_listed('$2') }},

{{ membership_judged_duplicates() }},

{{ membership_answer('duplicate_id_mappings') }}

-- name: membership__offline_duplicates(report, most)
-- The same for the bundle alone.
with {{ membership_pairs('$1', offline=true) }},

{{ membership_duplicates() }},

{{ membership_listed('$2') }},

{{ membership_judged_duplicates() }},

{{ membership_answer('duplicate_id_mappings') }}

-- name: membership__run_id_match(report, most)
-- The mappings of what the bundle's run has written name this run.
with {{ membership_written('$1') }},

compared as (
    select
        written.*,
        cast({{ membership_column('mapping', 'runId', 'mappings') }} as text) as run_id_found
    from written
    left join {{ membership_table('mapping') }} as mappings
        on
            written.entity
            = cast({{ membership_column('mapping', 'entityType', 'mappings') }} as text)
            and written.source_id
            = cast({{ membership_column('mapping', 'waId', 'mappings') }} as text)
    where
        written.entity <> 'registration'
        or {{ membership_column('mapping', 'waId', 'mappings') }} is not null
),

run_ids as (
    select
        cast($1 as jsonb) ->> 'runId' as run_id,
        count(*) as record_total
    from compared
),

offenders as (
    select
        'fail' as status,
        compared.entity,
        compared.source_id,
        compared.target_id,
        compared.entity || ' ' || compared.source_id || ': the mapping names '
        || coalesce('run ' || compared.run_id_found, 'no run') as message
    from compared
    cross join run_ids
    where compared.run_id_found is distinct from run_ids.run_id
),

other_runs as (
    select
        coalesce(compared.run_id_found, 'none') as run_id_found,
        count(*) as record_total
    from compared
    cross join run_ids
    where compared.run_id_found is distinct from run_ids.run_id
    group by compared.run_id_found
),

told as (
    select
        string_agg(
            other_runs.run_id_found || ' (' || other_runs.record_total || ' records)', ', '
            order by other_runs.record_total desc, other_runs.run_id_found asc
        ) as run_ids_found
    from other_runs
),

{{ membership_listed('$2') }},

judged as (
    select
        run_ids.run_id as expected,
        listed.row_total as rows,
        listed.sample,
        '' as outcome,
        case
            when listed.row_total > 0 then 'fail'
            when run_ids.record_total = 0 then 'info'
            else 'ok'
        end as status,
        array[run_ids.run_id, told.run_ids_found] as arguments,
        coalesce(told.run_ids_found, run_ids.run_id) as found
    from run_ids
    cross join told
    cross join listed
),

{{ membership_answer('run_id_match') }}

{{ membership_field_values() }}

-- name: membership__policies(policies, most)
-- Policies are as they were captured, and the required ones are filled in.
with {{ membership_policies('$1') }},

compared as (
    select
        policies.*,
        cast({{ membership_column('policy', 'value', 'application') }} as jsonb) as value_found
    from policies
    left join {{ membership_table('policy') }} as application
        on policies.name = cast({{ membership_column('policy', 'key', 'application') }} as text)
),

{{ membership_judged_policies('$2') }},

{{ membership_answer('policies') }}

-- name: membership__offline_policies(policies, most)
-- The same for the bundle alone: required ones are there and filled in.
with {{ membership_policies('$1') }},

compared as (
    select
        policies.*,
        policies.value as value_found
    from policies
),

{{ membership_judged_policies('$2') }},

{{ membership_answer('policies') }}
{%- endif %}
