-- Named statements about a bundle as a whole: is it usable, what is in the database beside it, and
-- who must know of the result.
{%- if membership_settings().enabled %}

-- name: membership__problems(report, policies, config)
-- Why a bundle cannot be verified at all, one row each. Reads the bundle only.
with report as (
    select
        cast($1 as jsonb) as body,
        jsonb_typeof(cast($1 as jsonb)) as body_type
),

entities (place, entity) as (
    values
    (1, 'members'),
    (2, 'events'),
    (3, 'registrations')
),

sections as (
    select
        entities.place,
        entities.entity,
        report.body -> entities.entity as section,
        case
            when jsonb_typeof(report.body #> array[entities.entity, 'records']) = 'array'
                then report.body #> array[entities.entity, 'records']
        end as records
    from report
    cross join entities
    where report.body_type = 'object'
),

numbers as (
    select
        sections.entity,
        count_names.count_name as name,
        case
            when jsonb_typeof(sections.section -> count_names.count_name) = 'number'
                then cast(sections.section -> count_names.count_name as numeric)
        end as number
    from sections
    cross join
        unnest(
            array['parsed', 'created', 'updated', 'skipped', 'errors']
        ) as count_names (count_name)
    where sections.records is not null
),

sums as (
    select
        numbers.entity,
        count(*) - count(numbers.number) as missing,
        max(numbers.number) filter (where numbers.name = 'parsed') as parsed,
        sum(numbers.number) filter (where numbers.name <> 'parsed') as total
    from numbers
    group by numbers.entity
),

totals as (
    select
        numbers.name,
        sum(numbers.number) as total
    from numbers
    where numbers.name <> 'parsed'
    group by numbers.name
),

records as (
    select
        sections.entity,
        listed.place,
        listed.record ->> '_action' as action,
        listed.record ->> '_waId' as source_id,
        listed.record ->> '_targetId' as target_id
    from sections
    cross join
        lateral jsonb_array_elements(
            sections.records
        ) with ordinality as listed (record, place)
),

actions as (
    select
        records.entity,
        case records.action
            when 'create' then 'created'
            when 'update' then 'updated'
            when 'skip' then 'skipped'
        end as name,
        count(*) as record_total
    from records
    group by
        records.entity,
        records.action
),

problems as (
    select
        1 as place,
        'migration-report.json is not an object' as message
    from report
    where report.body_type <> 'object'
    union all
    select
        2 as place,
        'migration-report.json is empty' as message
    from report
    where report.body = '{}'
    union all
    select
        3 as place,
        'it is the bundle of a dry run, which has written nothing: dryRun is not false' as message
    from report
    where
        report.body <> '{}'
        and report.body -> 'dryRun' is distinct from 'false'
    union all
    select
        3 as place,
        'its run failed: ' || coalesce(report.body ->> 'error', 'no reason is given') as message
    from report
    where report.body ->> 'status' = 'failed'
    union all
    select
        4 as place,
        'its run did not complete: completedAt is no time' as message
    from report
    where
        report.body <> '{}'
        and {{ iso_time("(report.body ->> 'completedAt')") | indent(8) }} is null
    union all
    select
        5 as place,
        'runId is missing' as message
    from report
    where
        report.body <> '{}'
        and coalesce(report.body ->> 'runId', '') = ''
    union all
    select
        10 + sections.place as place,
        sections.entity || ': there is no list of records' as message
    from sections
    cross join report
    where
        sections.records is null
        and report.body <> '{}'
    union all
    select
        20 as place,
        sums.entity || ': the counts do not add up: created + updated + skipped + errors are '
        || coalesce(cast(sums.total as text), 'missing') || ', parsed are '
        || coalesce(cast(sums.parsed as text), 'missing') as message
    from sums
    where
        sums.missing > 0
        or sums.total <> sums.parsed
    union all
    select
        30 as place,
        numbers.entity || ': ' || numbers.name || ' are ' || numbers.number || ', and '
        || coalesce(actions.record_total, 0) || ' records say so' as message
    from numbers
    left join actions
        on
            numbers.entity = actions.entity
            and numbers.name = actions.name
    where
        numbers.name in ('created', 'updated', 'skipped')
        and numbers.number <> coalesce(actions.record_total, 0)
    union all
    select
        40 as place,
        records.entity || ': record ' || min(records.place) || ' has no id'
        || case
            when count(*) > 1 then ', and ' || count(*) - 1 || ' others'
            else ''
        end as message
    from records
    where
        coalesce(records.source_id, '') = ''
        or (records.action in ('create', 'update') and coalesce(records.target_id, '') = '')
    group by records.entity
    union all
    select
        41 as place,
        records.entity || ': record ' || min(records.place) || ' has the action '
        || coalesce(min(records.action), 'NULL') || '; allowed: create, update, skip' as message
    from records
    where coalesce(records.action, '') not in ('create', 'update', 'skip')
    group by records.entity
    union all
    select
        42 as place,
        'idMapping.' || sections.entity || ' is no list' as message
    from sections
    cross join report
    where
        report.body -> 'idMapping' is not null
        and sections.entity in ('members', 'events')
        and jsonb_typeof(report.body #> array['idMapping', sections.entity])
        is distinct from 'array'
    union all
    select
        43 as place,
        'summary.' || totals.name || ' is ' || (report.body #>> array['summary', totals.name])
        || ', the lists have ' || totals.total as message
    from totals
    cross join report
    where
        report.body -> 'summary' is not null
        and report.body #>> array['summary', totals.name]
        is distinct from cast(totals.total as text)
    union all
    select
        51 as place,
        'policy-bundle.json: a policy needs key, value, and true or false if required' as message
    from report
    where
        exists (
            select 1 as found
            from
                jsonb_array_elements(
                    case
                        when jsonb_typeof(cast($2 as jsonb) -> 'policies') = 'array'
                            then cast($2 as jsonb) -> 'policies'
                        else '[]'
                    end
                ) as listed (policy)
            where
                coalesce(listed.policy ->> 'key', '') = ''
                or not listed.policy ? 'value'
                or jsonb_typeof(coalesce(listed.policy -> 'required', 'false')) <> 'boolean'
        )
    union all
    select
        50 as place,
        'policy-bundle.json has no list of policies' as message
    from report
    where
        cast($2 as jsonb) is not null
        and jsonb_typeof(cast($2 as jsonb) -> 'policies') is distinct from 'array'
    union all
    select
        60 as place,
        'migration-config.json is not an object' as message
    from report
    where jsonb_typeof(cast($3 as jsonb)) <> 'object'
)

select problems.message
from problems
order by
    problems.place asc,
    problems.message asc;

-- name: membership__about(report)
-- What the console says of a bundle.
select
    cast($1 as jsonb) ->> 'runId' as run_id,
    coalesce(cast($1 as jsonb) ->> 'dryRun', 'false') as dry_run,
    cast($1 as jsonb) ->> 'completedAt' as completed_at;

-- name: membership__database_counts()
-- Rows of the application, of any origin.
select
    (select count(*) as row_total from {{ membership_table('member') }}) as members,
    (select count(*) as row_total from {{ membership_table('event') }}) as events,
    (select count(*) as row_total from {{ membership_table('registration') }}) as registrations;

-- name: membership__escalations(findings)
-- Who must know of the findings, and why.
with findings as (
    select
        given.code,
        given.name,
        given.status,
        given.expected,
        given.found
    from
        jsonb_to_recordset(cast($1 as jsonb)) as given (
            code text, name text, status text, expected text, found text
        )
),

counts as (
    select
        findings.name,
        cast(findings.expected as numeric) as claimed_total,
        cast(findings.found as numeric) as present_total
    from findings
    where
        findings.code in ('member_count', 'event_count', 'registration_count')
        and findings.status = 'fail'
),

failures as (
    select
        count(*) as failure_total,
        string_agg(findings.name, ', ' order by findings.name) as check_names
    from findings
    where findings.status in ('fail', 'error')
),

reasons as (
    select
        'database_corruption' as issue,
        findings.name as reason
    from findings
    where
        findings.code in ('orphaned_registrations', 'duplicate_id_mappings')
        and findings.status = 'fail'
    union all
    select
        'data_loss' as issue,
        counts.name || ' is more than 5 % off' as reason
    from counts
    where counts.claimed_total - counts.present_total > 0.05 * counts.claimed_total
    union all
    select
        'verification_failure' as issue,
        failures.failure_total || ' checks failed: ' || failures.check_names as reason
    from failures
    where failures.failure_total >= 2
),

contacts (place, issue, name, contact, priority) as (
    {{ membership_contacts() }}
),

final as (
    select
        contacts.name as issue,
        reasons.reason,
        contacts.contact,
        contacts.priority,
        'Do NOT self-remediate integrity failures. Document and escalate.' as advice
    from reasons
    inner join contacts on reasons.issue = contacts.issue
    order by
        contacts.place asc,
        reasons.reason asc
)

select * from final;
{%- endif %}
