-- Count what happened since the last tick: one row of validation_samples per guarded column. To be
-- called once a minute, by `trueup guard tick` or by any scheduler. Refusals come from a sequence,
-- because their events are rolled back; writes come from the server's own counters, because the
-- trigger never sees a good row. An event counts once, whenever its transaction ended: what the
-- last tick saw is told by its snapshot.
create or replace function {{ this.include(database=false) }}()
returns setof {{ ref('validation_samples') }}
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
    -- two ticks at once would count twice
    select pg_advisory_xact_lock(hashtextextended('trueup guard tick', 0));

    with scopes as (
        select
            scopes.*,
            coalesce(pg_sequence_last_value(cast(scopes.refused_sequence as regclass)), 0)
                as refused_now,
            coalesce(pg_sequence_last_value(cast(scopes.unrecorded_sequence as regclass)), 0)
                as unrecorded_now,
            coalesce((
                select sum(
                    pg_stat_get_tuples_inserted(members.oid)
                    + pg_stat_get_tuples_updated(members.oid)
                )
                from (
                    select to_regclass(format('%I.%I', scopes.schema_name, scopes.table_name))
                        as oid
                    union
                    select tree.relid as oid
                    from pg_partition_tree(
                        to_regclass(format('%I.%I', scopes.schema_name, scopes.table_name))
                    ) as tree
                ) as members
            ), 0) as writes_now
        from {{ ref('guard_scopes') }} as scopes
    ),

    events as (
        select
            scopes.scope,
            count(*) filter (where events.outcome = 'warned') as warned,
            count(*) filter (where events.outcome = 'would_reject') as would_reject
        from scopes
        inner join {{ ref('guard_events') }} as events
            on
                scopes.scope = events.scope
                -- only so far back does it look for transactions that were open long
                and events.at >= coalesce(scopes.ticked_at, scopes.installed_at) - interval '1 day'
                and not pg_visible_in_snapshot(events.transaction_id, scopes.events_seen)
        group by scopes.scope
    ),

    counted as (
        select
            scopes.scope,
            coalesce(
                (
                    select mode_events.new_mode
                    from {{ ref('validation_mode_events') }} as mode_events
                    where
                        mode_events.scope = scopes.scope
                        and mode_events.refused is null
                    order by mode_events.version desc
                    limit 1
                ),
                decided.mode
            ) as mode,
            coalesce(events.warned, 0)
            + case when decided.is_dry_run then 0 else grown.unrecorded end as warned,
            coalesce(events.would_reject, 0)
            + case when decided.is_dry_run then grown.unrecorded else 0 end as would_reject,
            grown.refused,
            grown.writes
        from scopes
        left join events on scopes.scope = events.scope
        cross join lateral (
            -- a restored backup or reset statistics set a counter back
            select
                greatest(scopes.refused_now - scopes.refused_seen, 0) as refused,
                greatest(scopes.unrecorded_now - scopes.unrecorded_seen, 0) as unrecorded,
                greatest(scopes.writes_now - coalesce(scopes.writes_seen, scopes.writes_now), 0)
                    as writes
        ) as grown
        cross join lateral {{ ref('validation_decision') }}(scopes.scope, 'write', null) as decided
    ),

    noted as (
        update {{ ref('guard_scopes') }} as noted
        set
            refused_seen = scopes.refused_now,
            unrecorded_seen = scopes.unrecorded_now,
            writes_seen = scopes.writes_now,
            events_seen = pg_current_snapshot(),
            ticked_at = now()
        from scopes
        where noted.scope = scopes.scope
    )

    insert into {{ ref('validation_samples') }} as samples (
        scope, instance, minute, mode, judged, ok, warned, would_reject, rejected
    )
    select
        counted.scope,
        'guard' as instance,
        date_trunc('minute', now()) as minute,
        counted.mode,
        greatest(counted.writes, objections.total) as judged,
        greatest(counted.writes, objections.total) - objections.total as ok,
        counted.warned,
        counted.would_reject,
        counted.refused
    from counted
    cross join lateral (
        select counted.warned + counted.would_reject + counted.refused as total
    ) as objections
    on conflict (scope, instance, minute) do update set
        mode = excluded.mode,
        judged = samples.judged + excluded.judged,
        ok = samples.ok + excluded.ok,
        warned = samples.warned + excluded.warned,
        would_reject = samples.would_reject + excluded.would_reject,
        rejected = samples.rejected + excluded.rejected
    returning *
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
