-- What is done with a value that is not canonical: one row for any scope, operation (read, else it
-- counts as write) and subject (the tenant, else the consumer; NULL if there is none). All guards
-- ask here. The order: the scope's own mode, else the default of its environment; with write_only
-- a write in warn enforces and a read in enforce warns; a subject outside of the share gets warn;
-- shadow turns a refusal into a would_reject. Without a subject the bucket is 10000, outside of
-- every share but 100 percent, at which there are no buckets.
create or replace function {{ this.include(database=false) }}(
    scope text, operation text, subject text
)
returns table (
    mode text,
    should_enforce boolean,
    should_emit_headers boolean,
    should_emit_would_reject boolean,
    is_dry_run boolean,
    bucket integer
)
language sql
stable
as $function$
    with environments (environment, mode, shadow) as (
        values
        {{ environment_defaults() | indent(8) }}
    ),

    recorded as (
        select
            mode_events.new_mode,
            mode_events.percent,
            mode_events.shadow,
            mode_events.write_only
        from {{ ref('validation_mode_events') }} as mode_events
        where
            mode_events.scope = $1
            and mode_events.refused is null
        order by mode_events.version desc
        limit 1
    ),

    chosen as (
        select
            coalesce(recorded.new_mode, environments.mode) as mode,
            coalesce(recorded.percent, 100) as percent,
            environments.shadow or coalesce(recorded.shadow, false) as shadow,
            coalesce(recorded.write_only, false) as write_only,
            $2 is not distinct from 'read' as is_read,
            coalesce({{ ref('validation_bucket') }}($1, $3), 10000) as bucket
        from environments
        left join recorded on true
        where
            environments.environment = coalesce(
                (
                    select scopes.environment
                    from {{ ref('guard_scopes') }} as scopes
                    where scopes.scope = $1
                ),
                'production'
            )
    ),

    judged as (
        select
            chosen.*,
            case
                when chosen.write_only and chosen.mode = 'warn' and not chosen.is_read
                    then 'enforce'
                when chosen.write_only and chosen.mode = 'enforce' and chosen.is_read
                    then 'warn'
                else chosen.mode
            end as mode_here,
            chosen.write_only and chosen.is_read as only_warned,
            chosen.percent >= 100 or chosen.bucket < chosen.percent * 100 as is_inside
        from chosen
    )

    select
        case
            when judged.mode_here = 'enforce' and not judged.is_inside then 'warn'
            else judged.mode_here
        end as mode,
        judged.mode_here = 'sealed'
        or (judged.mode_here = 'enforce' and judged.is_inside and not judged.shadow)
            as should_enforce,
        judged.mode_here <> 'off' as should_emit_headers,
        judged.shadow
        and judged.mode_here not in ('off', 'sealed')
        and judged.is_inside
        and not judged.only_warned as should_emit_would_reject,
        judged.shadow as is_dry_run,
        judged.bucket
    from judged
$function$;
