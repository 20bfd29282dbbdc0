-- Named statements of the guard. DDL cannot have parameters, so statements about triggers return
-- the text of what is executed: a reader sees the templates here, and every installed object in
-- guard_scopes.definitions.

-- name: guard__scopes()
-- The managed columns, each with its scope, whether it has a guard, and whether that is a CHECK.
with {{ guarded_columns() }}

select
    guarded.scope,
    guarded.table_name,
    guarded.column_name,
    scopes.scope is not null as is_installed,
    coalesce(recorded.mode = 'sealed', false) as is_sealed
from guarded
left join {{ ref('guard_scopes') }} as scopes on guarded.scope = scopes.scope
left join {{ ref('validation_mode_current') }} as recorded on guarded.scope = recorded.scope
order by guarded.place;

-- name: guard__triggers(scope)
-- Install the triggers of a column, in order. The WHEN clauses hold the canonical values, so that
-- a good row costs one comparison. Triggers after the write are always there; those before it, only
-- while the mode is normalize.
with {{ guarded_columns() }},

{{ vocabulary_lists() }},

chosen as (
    select
        guarded.*,
        lists.canonical_values,
        {{ guard_name('guarded.column_name') | indent(8) }} as name,
        format(
            case when guarded.refuses_null then '(new.%1$I is null or %2$s)' else '%2$s' end,
            guarded.column_name,
            format(
                'cast(new.%I as text) <> all (%L::text[])',
                guarded.column_name,
                lists.canonical_values
            )
        ) as is_wrong,
        coalesce(decided.mode, 'off') = 'normalize' as is_normalizing
    from guarded
    inner join lists on guarded.vocabulary = lists.vocabulary
    cross join lateral {{ ref('validation_decision') }}(guarded.scope, 'write', null) as decided
    where guarded.scope = $1
),

triggers (place, suffix, timing, event, extra, function) as (
    values
    (1, 'insert', 'after', 'insert', '', 'guard_check'),
    (2, 'update', 'after', 'update', 'old.%1$I is distinct from new.%1$I and ', 'guard_check'),
    (3, 'normalize_insert', 'before', 'insert', '', 'guard_normalize'),
    (
        4, 'normalize_update', 'before', 'update', 'old.%1$I is distinct from new.%1$I and ',
        'guard_normalize'
    )
),

commands as (
    select
        triggers.place * 2 as place,
        format(
            'create or replace trigger %I %s %s on %I.%I for each row when (%s%s)'
            || ' execute function {{ generate_schema_name('ledger') }}.%I(%L)',
            chosen.name || '_' || triggers.suffix,
            triggers.timing,
            triggers.event,
            chosen.schema_name,
            chosen.table_name,
            format(triggers.extra, chosen.column_name),
            chosen.is_wrong,
            triggers.function,
            chosen.scope
        ) as command
    from chosen
    cross join triggers
    where triggers.timing = 'after' or chosen.is_normalizing
    union all
    select
        triggers.place * 2 + 1 as place,
        format(
            'alter table %I.%I enable always trigger %I',
            chosen.schema_name, chosen.table_name, chosen.name || '_' || triggers.suffix
        ) as command
    from chosen
    cross join triggers
    where triggers.timing = 'after' or chosen.is_normalizing
    union all
    select
        triggers.place * 2 as place,
        format(
            'drop trigger if exists %I on %I.%I',
            chosen.name || '_' || triggers.suffix, chosen.schema_name, chosen.table_name
        ) as command
    from chosen
    cross join triggers
    where triggers.timing = 'before' and not chosen.is_normalizing
)

select commands.command
from commands
order by commands.place;

-- name: guard__register(scope, environment)
-- Record what was installed, in the same transaction. environment: NULL keeps the recorded one.
with {{ guarded_columns() }},

{{ vocabulary_lists() }}

select
    guarded.scope,
    {{ ref('guard_register') }}(
        jsonb_build_object(
            'scope', guarded.scope,
            'schema_name', guarded.schema_name,
            'table_name', guarded.table_name,
            'column_name', guarded.column_name,
            'tenant_column', guarded.tenant_column,
            'vocabulary', guarded.vocabulary,
            'vocabulary_version', lists.vocabulary_version,
            'canonical_values', lists.canonical_values,
            'environment', coalesce(cast($2 as text), scopes.environment, 'development'),
            'refuses_null', guarded.refuses_null,
            'refuses_blank', guarded.refuses_blank
        ),
        {{ installed_keys('guarded.vocabulary') | indent(8) }}
    ) as registered
from guarded
inner join lists on guarded.vocabulary = lists.vocabulary
left join {{ ref('guard_scopes') }} as scopes on guarded.scope = scopes.scope
where guarded.scope = $1;

-- name: guard__seal(scope)
-- The CHECK of a column, as the commands that count what it would refuse, add it, validate it and
-- take it back. Its name ends with a digest of the list, so that a new list gets a new CHECK
-- before the old one goes.
with {{ guarded_columns() }},

{{ vocabulary_lists() }},

chosen as (
    select
        guarded.schema_name,
        guarded.table_name,
        guarded.column_name,
        lists.canonical_values,
        case
            when guarded.refuses_null then format('%I is not null and ', guarded.column_name)
            else ''
        end
        || format(
            '(cast(%I as text) = any (%L::text[])', guarded.column_name, lists.canonical_values
        )
        || case
            when guarded.refuses_blank then ')'
            else format(
                $blank$ or {{ is_blank('cast(%1$I as text)') }})$blank$,
                guarded.column_name
            )
        end as condition,
        {{ guard_name('guarded.column_name') | indent(8) }}
        || '_sealed_' || left(md5(cast(lists.canonical_values as text)), 8) as name
    from guarded
    inner join lists on guarded.vocabulary = lists.vocabulary
    where guarded.scope = $1
)

select
    chosen.name,
    pg_constraint.oid is not null as is_added,
    format(
        'select count(*) from %I.%I where (%s) is false',
        chosen.schema_name, chosen.table_name, chosen.condition
    ) as counted,
    format(
        'alter table %I.%I add constraint %I check (%s) not valid',
        chosen.schema_name, chosen.table_name, chosen.name, chosen.condition
    ) as adding,
    format(
        'alter table %I.%I validate constraint %I',
        chosen.schema_name, chosen.table_name, chosen.name
    ) as validating,
    format(
        'alter table %I.%I drop constraint if exists %I',
        chosen.schema_name, chosen.table_name, chosen.name
    ) as removing
from chosen
left join pg_catalog.pg_constraint
    on
        chosen.name = pg_constraint.conname
        and to_regclass(format('%I.%I', chosen.schema_name, chosen.table_name))
        = pg_constraint.conrelid;

-- name: guard__drop(scope, kept)
-- Drop what the guard has on a column, apart from the constraint that is kept.
with scopes as (
    select
        scopes.*,
        to_regclass(format('%I.%I', scopes.schema_name, scopes.table_name)) as oid
    from {{ ref('guard_scopes') }} as scopes
    where scopes.scope = $1
),

objects as (
    select
        scopes.oid,
        'drop trigger %I on %s' as pattern,
        cast(pg_trigger.tgname as text) as name
    from scopes
    inner join pg_catalog.pg_trigger
        on
            scopes.oid = pg_trigger.tgrelid
            and not pg_trigger.tgisinternal
            and starts_with(cast(pg_trigger.tgname as text), 'zz_trueup_')
            and pg_trigger.tgargs = convert_to(scopes.scope, 'UTF8') || cast('\x00' as bytea)
    union all
    select
        scopes.oid,
        'alter table %2$s drop constraint %1$I' as pattern,
        cast(pg_constraint.conname as text) as name
    from scopes
    inner join pg_catalog.pg_constraint
        on
            scopes.oid = pg_constraint.conrelid
            and pg_constraint.contype = 'c'
            and starts_with(
                cast(pg_constraint.conname as text),
                {{ guard_name('scopes.column_name') | indent(16) }} || '_sealed_'
            )
    where pg_constraint.conname <> coalesce($2, '')
)

select format(objects.pattern, objects.name, objects.oid) as command
from objects
order by objects.name;

-- name: guard__forget(scope, reason)
select {{ ref('guard_forget') }}($1, $2) as forgotten;

-- name: guard__tick()
select
    samples.scope,
    samples.minute,
    samples.mode,
    samples.judged,
    samples.ok,
    samples.warned,
    samples.would_reject,
    samples.rejected
from {{ ref('guard_tick') }}() as samples
order by samples.scope;

-- name: guard__set_mode(scope, mode, percent, shadow, expect_version, actor, reason, is_override,
--     write_only)
-- Change a mode, as a finding row: what the mode is now, or why it stayed.
with mode_events as (
    select mode_events.*
    from {{ ref('set_mode') }}(
        $1, $2, cast($3 as numeric), cast($4 as boolean), cast($5 as bigint), $6, $7,
        cast($8 as boolean), cast($9 as boolean)
    ) as mode_events
),

judged as (
    select
        'guard__' || coalesce(mode_events.refused, 'mode_is_set') as code,
        mode_events.scope as subject,
        case when mode_events.refused is null then 'ok' else 'fail' end as status,
        array[
            {{ mode_text('mode_events', 'new_mode') | indent(12) }},
            cast(mode_events.version as text),
            cast($5 as text),
            mode_events.scope
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample
    from mode_events
),

{{ finding_rows('guard', guard_words()) }}

select * from final;

-- name: guard__begin_mode(scope, mode, write_only, percent, dry_run)
-- The mode of a scope that has none yet, from the environment variables; they are checked.
with variables as (
    select
        cast($1 as text) as scope,
        cast($2 as text) as mode,
        cast($3 as text) as write_only,
        cast($4 as text) as percent,
        cast($5 as text) as dry_run
),

wanted as (
    select
        variables.scope,
        'environment variables' as reason,
        -- 0 percent is nobody
        case
            when variables.mode = 'enforce' and variables.percent = '0' then 'warn'
            else coalesce(variables.mode, 'warn')
        end as mode,
        nullif(cast(variables.percent as numeric), 0) as percent,
        coalesce(variables.dry_run, 'false') = 'true' as shadow,
        coalesce(variables.write_only, 'false') = 'true' as write_only
    from variables
    left join {{ ref('validation_mode_current') }} as recorded on variables.scope = recorded.scope
    where
        recorded.scope is null
        and coalesce(variables.mode, variables.write_only, variables.percent, variables.dry_run)
        is not null
)

select mode_events.new_mode
from wanted
cross join lateral {{ ref('set_mode') }}(
    wanted.scope, wanted.mode, wanted.percent, wanted.shadow, null, null, wanted.reason, true,
    wanted.write_only
) as mode_events;

-- name: guard__environment(mode, write_only, percent, dry_run)
-- The environment variables that fill a scope without a recorded mode, as finding rows: those that
-- are not allowed fail, those that a recorded mode differs from are a warning.
with variables (name, value, is_allowed, allowed) as (
    values
    (
        'STAGE_VALIDATION_MODE', cast($1 as text), $1 in ('off', 'warn', 'enforce'),
        'off, warn, enforce'
    ),
    ('ENFORCE_WRITE_ONLY', cast($2 as text), $2 in ('true', 'false'), 'true, false'),
    (
        'ENFORCEMENT_PERCENT', cast($3 as text), $3 ~ '^([0-9]|[1-9][0-9]|100)$',
        'a whole number from 0 to 100'
    ),
    ('STAGE_VALIDATION_DRY_RUN', cast($4 as text), $4 in ('true', 'false'), 'true, false')
),

compared as (
    select
        variables.*,
        recorded.scope,
        recorded.mode,
        case variables.name
            when 'STAGE_VALIDATION_MODE' then recorded.mode
            when 'ENFORCE_WRITE_ONLY' then cast(recorded.write_only as text)
            when 'ENFORCEMENT_PERCENT' then cast(trim_scale(recorded.percent) as text)
            else cast(recorded.shadow as text)
        end as recorded_value
    from variables
    cross join {{ ref('validation_mode_current') }} as recorded
),

judged as (
    select
        'guard__wrong_variable' as code,
        'fail' as status,
        variables.name as subject,
        variables.allowed as expected,
        variables.value as found,
        array[variables.name, variables.value, variables.allowed] as arguments,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample
    from variables
    where
        variables.value is not null
        and not variables.is_allowed
    union all
    select
        'guard__variable_differs' as code,
        'warn' as status,
        compared.scope as subject,
        compared.recorded_value as expected,
        compared.value as found,
        array[compared.name, compared.value, compared.recorded_value, compared.scope] as arguments,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample
    from compared
    where
        compared.is_allowed
        and compared.value <> compared.recorded_value
        and not (compared.name = 'ENFORCEMENT_PERCENT' and compared.mode <> 'enforce')
),

{{ finding_rows('guard', guard_words()) }}

select * from final;

-- name: guard__findings()
-- Whether every guarded column has the guard that its seeds and its mode ask for.
with {{ guard_drift() }},

judged as (
    select
        drift.code,
        drift.scope as subject,
        drift.status,
        drift.arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        drift.sample
    from drift
),

{{ finding_rows('guard', guard_words()) }}

select * from final;

-- name: guard__status(scope)
-- Where each column stands, and each endpoint with a recorded mode, and what comes next. scope:
-- NULL for all.
with {{ guarded_columns() }},

known as (
    select
        guarded.place,
        guarded.scope,
        true as is_column
    from guarded
    union all
    select
        1000 as place,
        recorded.scope,
        false as is_column
    from {{ ref('validation_mode_current') }} as recorded
    where recorded.scope = any({{ endpoint_list() | indent(4) }})
),

counts as (
    select
        events.scope,
        count(*) filter (where events.outcome = 'warned') as warned,
        count(*) filter (where events.outcome = 'would_reject') as would_reject,
        count(*) filter (where events.outcome = 'normalized') as rewritten
    from {{ ref('guard_events') }} as events
    where events.at >= now() - interval '1 day'
    group by events.scope
),

variants as (
    select
        events.scope,
        events.raw_value,
        count(*) as times,
        row_number() over (
            partition by events.scope
            order by
                count(*) desc,
                events.raw_value asc
        ) as place
    from {{ ref('guard_events') }} as events
    where events.at >= now() - interval '1 day'
    group by
        events.scope,
        events.raw_value
),

top_variants as (
    select
        variants.scope,
        array_agg(
            coalesce(variants.raw_value, 'NULL') || ' ×' || variants.times order by variants.place
        ) as texts
    from variants
    where variants.place <= 3
    group by variants.scope
),

refusals as (
    select
        samples.scope,
        sum(samples.rejected) as rejected
    from {{ ref('validation_samples') }} as samples
    where samples.minute >= now() - interval '1 day'
    group by samples.scope
),

states as (
    select
        known.place,
        known.scope,
        known.is_column,
        scopes.environment,
        scopes.ticked_at,
        recorded.version,
        recorded.at as since,
        recorded.actor,
        recorded.reason,
        decided.is_dry_run as shadow,
        scopes.scope is not null as is_installed,
        coalesce(recorded.mode, decided.mode) as mode,
        coalesce(recorded.percent, 100) as percent,
        coalesce(recorded.write_only, false) as write_only,
        coalesce(counts.warned, 0) as warned,
        coalesce(counts.would_reject, 0) as would_reject,
        coalesce(counts.rewritten, 0) as rewritten,
        coalesce(refusals.rejected, 0) as rejected,
        coalesce(top_variants.texts, '{}') as top_variants
    from known
    left join {{ ref('guard_scopes') }} as scopes on known.scope = scopes.scope
    left join {{ ref('validation_mode_current') }} as recorded on known.scope = recorded.scope
    left join counts on known.scope = counts.scope
    left join refusals on known.scope = refusals.scope
    left join top_variants on known.scope = top_variants.scope
    cross join lateral {{ ref('validation_decision') }}(known.scope, 'write', null) as decided
),

worded as (
    select
        states.*,
        case
            when states.is_column and not states.is_installed then 'no guard'
            else {{ mode_text('states') | indent(12) }}
        end as mode_text,
        array_to_string(
            array[
                nullif(states.warned, 0) || ' warned',
                nullif(states.would_reject, 0) || ' would be refused',
                nullif(states.rewritten, 0) || ' rewritten',
                nullif(states.rejected, 0) || ' refused',
                array_to_string(states.top_variants, ', ')
            ],
            ', '
        ) as day_text,
        case
            when states.is_column and not states.is_installed
                then 'trueup guard install ' || states.scope
            when states.mode = 'sealed' then 'none: PostgreSQL itself keeps it'
            when states.environment = 'development'
                then 'none: in development nothing is refused (TRUEUP_ENV)'
            when states.mode = 'off' then 'warn: see what would be refused, refuse nothing'
            when states.mode = 'normalize' then 'trueup apply, trueup verify; then enforce'
            when states.shadow and states.would_reject > 0
                then 'decide these values, or correct who writes them'
            when states.shadow then 'the same without shadow'
            when states.mode = 'warn' and states.warned > 0
                then 'decide these values, or correct who writes them'
            when states.mode = 'warn' then 'enforce for 10 % of the tenants'
            when states.percent < 100 then 'enforce for more tenants: 10, 25, 50, 100 %'
            when states.is_column then 'trueup guard seal ' || states.scope
            else 'none'
        end as next_step
    from states
)

select
    worded.scope,
    worded.mode,
    worded.percent,
    worded.shadow,
    worded.write_only,
    worded.version,
    worded.since,
    worded.actor,
    worded.reason,
    worded.environment,
    worded.is_installed,
    worded.ticked_at,
    worded.warned,
    worded.would_reject,
    worded.rewritten,
    cast(worded.rejected as bigint) as rejected,
    worded.top_variants,
    worded.next_step,
    array_remove(
        array[
            worded.scope || ' · ' || worded.mode_text
            || coalesce(' · since ' || to_char(worded.since, 'YYYY-MM-DD HH24:MI'), '')
            || coalesce(' by ' || worded.actor, '')
            || coalesce(' · version ' || worded.version, ''),
            'of a day: ' || nullif(worded.day_text, ''),
            'next: ' || worded.next_step
        ],
        null
    ) as texts
from worded
where coalesce(worded.scope = $1, $1 is null)
order by
    worded.place asc,
    worded.scope asc;

-- name: guard__history(scope, most)
-- The changes of the mode of a scope, also the refused ones, newest first. scope: NULL for all.
select
    mode_events.at,
    mode_events.scope,
    mode_events.version,
    mode_events.old_mode,
    mode_events.new_mode,
    mode_events.percent,
    mode_events.shadow,
    mode_events.write_only,
    mode_events.overridden,
    mode_events.actor,
    mode_events.reason,
    mode_events.refused,
    array[
        to_char(mode_events.at, 'YYYY-MM-DD HH24:MI') || ' ' || mode_events.scope
        || ' ' || mode_events.version || ': '
        || coalesce(mode_events.old_mode, 'default') || ' → '
        || {{ mode_text('mode_events', 'new_mode') | indent(8) }}
        || coalesce(', refused: ' || replace(mode_events.refused, '_', ' '), '')
        || ', by ' || coalesce(mode_events.actor, '?')
        || coalesce(': ' || mode_events.reason, '')
    ] as texts
from {{ ref('validation_mode_events') }} as mode_events
where coalesce(mode_events.scope = $1, $1 is null)
order by mode_events.at desc
limit $2;

-- name: guard__blast_radius(scope)
-- Who would feel each step: tenants inside of the share, those of them with rows that enforce would
-- refuse if they were written today, and those whose writes were objected to in 30 days. A step
-- that exposes nobody who could fail proves nothing.
with {{ guarded_columns() }},

at_rest as (
    select
        coverage.tenant,
        coverage.row_count - coverage.canonical_rows
        - case when guarded.refuses_null then 0 else coverage.null_rows end
        - case when guarded.refuses_blank then 0 else coverage.blank_rows end as dirty_rows
    from guarded
    inner join {{ ref('fct_stage_coverage') }} as coverage
        on
            guarded.table_name = coverage.table_name
            and guarded.column_name = coverage.column_name
    where guarded.scope = $1
),

in_flight as (
    select
        events.tenant,
        count(*) as objections
    from {{ ref('guard_events') }} as events
    where
        events.scope = $1
        and events.at >= now() - interval '30 days'
    group by events.tenant
),

tenants as (
    select
        coalesce(at_rest.tenant, in_flight.tenant) as tenant,
        coalesce(at_rest.dirty_rows, 0) as dirty_rows,
        coalesce(in_flight.objections, 0) as objections
    from at_rest
    full join in_flight on at_rest.tenant = in_flight.tenant
),

steps (percent) as (
    values (10), (25), (50), (100)
),

placed as (
    select
        steps.percent,
        tenants.dirty_rows,
        tenants.objections,
        steps.percent = 100
        or coalesce(
            {{ ref('validation_bucket') }}($1, tenants.tenant) < steps.percent * 100, false
        ) as is_inside
    from tenants
    cross join steps
)

select
    placed.percent,
    count(*) filter (where placed.is_inside) as tenants,
    count(*) filter (where placed.is_inside and placed.dirty_rows > 0) as tenants_with_dirty_rows,
    coalesce(sum(placed.dirty_rows) filter (where placed.is_inside), 0) as dirty_rows,
    count(*) filter (where placed.is_inside and placed.objections > 0) as tenants_objected,
    coalesce(sum(placed.objections) filter (where placed.is_inside), 0) as objections_in_30_days
from placed
group by placed.percent
order by placed.percent;

-- name: guard__spelling(scope)
-- The most frequent spelling of a column's vocabulary that is not canonical, to show what happens.
with {{ guarded_columns() }}

select resolved.raw_value
from guarded
inner join {{ ref('int_values') }} as resolved on guarded.vocabulary = resolved.vocabulary
where
    guarded.scope = $1
    and resolved.resolution = 'exact'
order by
    resolved.row_count desc,
    resolved.raw_value asc
limit 1;

-- name: guard__writers(scope, most)
-- Who wrote what, of 30 days: the most frequent first.
select
    events.outcome,
    events.raw_value,
    events.canonical_value,
    events.tenant,
    events.written_by,
    events.application_name,
    count(*) as times,
    max(events.at) as last_at
from {{ ref('guard_events') }} as events
where
    events.scope = $1
    and events.at >= now() - interval '30 days'
group by
    events.outcome,
    events.raw_value,
    events.canonical_value,
    events.tenant,
    events.written_by,
    events.application_name
order by
    count(*) desc,
    events.raw_value asc
limit $2;
