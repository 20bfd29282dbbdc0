-- Change the mode of a scope, or say why not. Both are a row of validation_mode_events, which is
-- returned: refused is NULL, or the code of the reason. NULL for percent, shadow or write_only
-- keeps what is recorded. expect_version: the version that the caller has seen; of two changes at
-- once, the second is refused. Lowering a mode is always allowed; raising one needs is_override
-- with a reason. What is lowered and what is raised is decided by mode_rank().
create or replace function {{ this.include(database=false) }}(
    scope text,
    mode text,
    percent numeric default null,
    shadow boolean default null,
    expect_version bigint default null,
    actor text default null,
    reason text default null,
    is_override boolean default false,
    write_only boolean default null
)
returns setof {{ ref('validation_mode_events') }}
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
    -- the next statement sees what the holder of this lock has committed
    select pg_advisory_xact_lock(hashtextextended('trueup mode ' || $1, 0));

    with environments (environment, mode, shadow) as (
        values
        {{ environment_defaults() | indent(8) }}
    ),

    scopes as (
        select
            scopes.environment,
            array['off', 'normalize', 'warn', 'enforce', 'sealed'] as modes,
            exists (
                select 1 as found
                from pg_catalog.pg_constraint
                where
                    pg_constraint.conrelid
                    = to_regclass(format('%I.%I', scopes.schema_name, scopes.table_name))
                    and pg_constraint.contype = 'c'
                    and pg_constraint.convalidated
                    and starts_with(
                        cast(pg_constraint.conname as text),
                        {{ guard_name('scopes.column_name') | indent(24) }} || '_sealed_'
                    )
            ) as is_sealed
        from {{ ref('guard_scopes') }} as scopes
        where scopes.scope = $1
        union all
        select
            'production' as environment,
            array['off', 'warn', 'enforce'] as modes,
            false as is_sealed
        where $1 = any({{ endpoint_list() | indent(8) }})
    ),

    recorded as (
        select mode_events.*
        from {{ ref('validation_mode_events') }} as mode_events
        where
            mode_events.scope = $1
            and mode_events.refused is null
        order by mode_events.version desc
        limit 1
    ),

    stated as (
        select
            scopes.modes,
            scopes.is_sealed,
            recorded.new_mode as recorded_mode,
            coalesce(recorded.version, 0) as version,
            coalesce(recorded.new_mode, environments.mode) as mode,
            coalesce(recorded.percent, 100) as percent,
            coalesce(recorded.shadow, false) as shadow,
            coalesce(recorded.write_only, false) as write_only,
            coalesce(environments.shadow, false) as is_always_shadow
        from (select 1 as one) as one
        left join scopes on true
        left join environments on scopes.environment = environments.environment
        left join recorded on true
    ),

    wanted as (
        select
            stated.*,
            coalesce(
                $3,
                case when $2 = 'enforce' and stated.mode = 'enforce' then stated.percent end,
                100
            ) as new_percent,
            coalesce($4, stated.shadow) as new_shadow,
            coalesce($9, stated.write_only) as new_write_only
        from stated
    ),

    judged as (
        select
            wanted.*,
            case
                when wanted.modes is null then 'unknown_scope'
                when $2 is null or $2 <> all(wanted.modes) then 'unknown_mode'
                when not (wanted.new_percent > 0 and wanted.new_percent <= 100)
                    then 'wrong_percent'
                when $5 <> wanted.version then 'old_version'
                when $2 <> 'sealed' and wanted.is_sealed then 'still_sealed'
                when
                    {{ mode_rank(
                        '$2',
                        'wanted.new_percent',
                        '(wanted.new_shadow or wanted.is_always_shadow)',
                        'wanted.new_write_only'
                    ) | indent(20) }}
                    > {{ mode_rank(
                        'wanted.mode',
                        'wanted.percent',
                        '(wanted.shadow or wanted.is_always_shadow)',
                        'wanted.write_only'
                    ) | indent(20) }}
                    and (not coalesce($8, false) or coalesce($7, '') = '')
                    then 'upgrade'
                -- last, so that who seals can ask before there is a CHECK
                when $2 = 'sealed' and not wanted.is_sealed then 'not_sealed'
            end as refused
        from wanted
    )

    insert into {{ ref('validation_mode_events') }} (
        scope, version, old_mode, new_mode, percent, shadow, write_only, overridden, actor, reason,
        refused
    )
    select
        coalesce($1, '') as scope,
        case when judged.refused is null then judged.version + 1 else judged.version end as version,
        judged.recorded_mode,
        coalesce($2, '') as new_mode,
        least(greatest(judged.new_percent, 0), 999) as percent,
        judged.new_shadow,
        judged.new_write_only,
        coalesce($8, false) as overridden,
        coalesce($6, session_user) as actor,
        $7 as reason,
        judged.refused
    from judged
    returning *
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
