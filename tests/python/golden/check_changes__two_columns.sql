batches as (
    select * from stage_migration_batches
),

changes as (
    select * from stage_normalization_changes
),

value_map as (
    select * from migration_value_map
),

control as (
    select * from stage_migration_control
),

places as (
    select
        request.run_id,
        request.tenants,
        request.is_quiesced
    from request
    inner join control
        on request.run_id = control.run_id
    where
        control.table_name = 'My Deals'
        and control.column_name = 'stage'
        and (
            request.table_names is null
            or array_position(request.table_names, control.table_name) is not null
        )
),

begun_places as (
    select
        places.run_id,
        places.tenants,
        min(changes.run_at) as first_at
    from places
    inner join batches
        on places.run_id = batches.run_id
    inner join changes
        on batches.batch_id = changes.batch_id
    where
        batches.table_name = 'My Deals'
        and batches.column_name = 'stage'
    group by
        places.run_id,
        places.tenants
),

-- what was written into the column since the run began there, this run's and others', in order
pieces as materialized (
    select
        batches.run_id,
        batches.batch_id,
        batches.run_id = begun_places.run_id as is_own,
        begun_places.tenants as scope,
        changes.run_at,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        row_number() over (
            order by
                changes.run_at,
                changes.batch_id
        ) as place
    from begun_places
    cross join changes
    inner join batches
        on changes.batch_id = batches.batch_id
    where
        batches.table_name = 'My Deals'
        and batches.column_name = 'stage'
        and changes.run_at >= begun_places.first_at
),

own_values as (
    select
        value_map.run_id,
        value_map.map_id,
        value_map.value_before,
        value_map.value_after
    from value_map
    where
        value_map.table_name = 'My Deals'
        and value_map.column_name = 'stage'
        and value_map.map_id is not null
),

audited_rows as (
    select
        audited.row_key,
        max(cast(audited.tenant as text) collate "C") filter (where pieces.is_own) as tenant,
        count(*) as entry_count,
        count(*) filter (
            where
            pieces.is_own
            and (
                cast(pieces.scope as text[]) is null
                or array_position(
                    cast(pieces.scope as text[]),
                    cast(audited.tenant as text) collate "C"
                ) is not null
            )
        ) as own_entry_count,
        min(pieces.place) filter (where pieces.is_own) as first_place,
        -- the number of the mapping in the low 16 bits, below the place of its entry in time
        max(pieces.place << 16 | (coalesce(audited.map_id, 0) & 65535)) as last_entry
    from pieces
    cross join
        unnest(pieces.row_keys, pieces.tenants, pieces.map_ids)
            as audited (row_key, tenant, map_id)
    group by audited.row_key
    having
        count(*) filter (
            where
            pieces.is_own
            and (
                cast(pieces.scope as text[]) is null
                or array_position(
                    cast(pieces.scope as text[]),
                    cast(audited.tenant as text) collate "C"
                ) is not null
            )
        ) > 0
),

current_rows as (
    select
        cast(array[cast(application."Fund" as text) collate "C", cast(application.id as text)] as text)
            as row_key,
        cast(null as timestamptz) as updated_at,
        cast(null as regtype) as updated_type,
        cast(application.stage as text) collate "C" as value_now
    from public."My Deals" as application
),

compared_rows as (
    select
        audited_rows.row_key,
        audited_rows.tenant,
        audited_rows.entry_count,
        audited_rows.own_entry_count,
        audited_rows.first_place,
        audited_rows.last_entry,
        pieces.batch_id,
        pieces.run_at,
        own_values.value_before,
        own_values.value_after,
        current_rows.value_now,
        current_rows.updated_at,
        current_rows.updated_type,
        current_rows.row_key is not null as is_there,
        coalesce(own_values.value_after = current_rows.value_now, false) as is_as_written
    from audited_rows
    inner join pieces
        on audited_rows.last_entry >> 16 = pieces.place
    left join own_values
        on
            pieces.run_id = own_values.run_id
            and audited_rows.last_entry & 65535 = own_values.map_id
    left join current_rows
        on audited_rows.row_key = current_rows.row_key
),

-- the rows that need a look
odd_rows as materialized (
    select * from compared_rows
    where
        not compared_rows.is_as_written
        or compared_rows.entry_count > 1
),

-- Where a row has several entries; taken apart before anything is joined, which would otherwise be
-- joined batch by batch.
single_entries as materialized (
    select
        audited.row_key,
        audited.map_id,
        pieces.place,
        pieces.run_id,
        pieces.batch_id,
        pieces.run_at
    from pieces
    cross join unnest(pieces.row_keys, pieces.map_ids) as audited (row_key, map_id)
    where
        exists (
            select 1 as found
            from odd_rows
            where odd_rows.entry_count > 1
        )
),

linked_entries as (
    select
        entries.row_key,
        entries.batch_id,
        entries.run_at,
        own_values.value_before,
        own_values.value_after,
        lag(entries.batch_id) over earlier as earlier_batch_id,
        lag(entries.run_at) over earlier as earlier_run_at,
        lag(own_values.value_after) over earlier as earlier_value
    from single_entries as entries
    inner join odd_rows
        on
            entries.row_key = odd_rows.row_key
            and entries.place >= odd_rows.first_place
    left join own_values
        on
            entries.run_id = own_values.run_id
            and entries.map_id = own_values.map_id
    where odd_rows.entry_count > 1
    window earlier as (
        partition by entries.row_key
        order by
            entries.place,
            entries.map_id
    )
),

judged_links as (
    select
        linked_entries.row_key,
        min(linked_entries.batch_id) filter (
            where linked_entries.value_after is null
        ) as unknown_batch_id,
        min(linked_entries.batch_id) filter (
            where
            linked_entries.batch_id = linked_entries.earlier_batch_id
            and linked_entries.run_at = linked_entries.earlier_run_at
        ) as repeated_batch_id,
        min(linked_entries.batch_id) filter (
            where linked_entries.value_before <> linked_entries.earlier_value
        ) as broken_batch_id
    from linked_entries
    group by linked_entries.row_key
),

judged_rows as (
    select
        odd_rows.*,
        judged_links.unknown_batch_id,
        judged_links.repeated_batch_id,
        judged_links.broken_batch_id,
        odd_rows.is_there
        and (
            odd_rows.value_now is null
            or regexp_replace(
                odd_rows.value_now,
                '['
                -- white space
                || '\u0009-\u000D\u001C-\u0020\u0085\u00A0'
                || '\u1680\u2000-\u200A\u2028\u2029'
                || '\u202F\u205F\u3000'
                -- combining marks: accents, after decomposition
                || '\u0300-\u0333\u0339-\u036F\u0483-\u0487\u1AB0-\u1AFF'
                || '\u1DC0-\u1DFF\uFE20-\uFE2F'
                -- zero-width and direction characters, soft hyphen, byte order mark
                || '\u00AD\u061C\u200B-\u200F\u202A-\u202E'
                || '\u2060-\u206F\uFEFF'
                -- fillers, inherent vowels, variation selectors, tags
                || '\u115F\u1160\u17B4\u17B5'
                || '\u180B-\u180F\u3164\uFE00-\uFE0F\uFFA0'
                || '\U000E0000-\U000E0FFF'
                || ']',
                '',
                'g'
            ) = ''
        ) as is_empty,
        -- the last to touch the row was a run, by what the row itself says. Where a trigger keeps
        -- updated_at, a time from before the batch is somebody's, too
        coalesce(
            odd_rows.updated_at = odd_rows.run_at
            or (
                odd_rows.updated_type = cast('timestamptz' as regtype)
                and odd_rows.updated_at
                < odd_rows.run_at - make_interval(secs => 60)
                and not exists (
                    select 1 as found
                    from pg_catalog.pg_trigger
                    where
                        pg_trigger.tgrelid
                        = cast('public."My Deals"' as regclass)
                        and pg_trigger.tgtype & 18 = 18 -- before, update
                        and pg_trigger.tgenabled <> 'D'
                        and not pg_trigger.tgisinternal
                )
            ),
            false
        ) as is_untouched
    from odd_rows
    left join judged_links
        on odd_rows.row_key = judged_links.row_key
),

explained_rows as (
    select
        judged_rows.*,
        translate(judged_rows.row_key, E'\t\n\x0b\f\r', '␉␊␋␌␍') as shown_row_key,
        translate(judged_rows.value_before, E'\t\n\x0b\f\r', '␉␊␋␌␍') as shown_value_before,
        translate(judged_rows.value_after, E'\t\n\x0b\f\r', '␉␊␋␌␍') as shown_value_after,
        translate(judged_rows.value_now, E'\t\n\x0b\f\r', '␉␊␋␌␍') as shown_value_now,
        case
            when judged_rows.value_after is null or judged_rows.unknown_batch_id is not null
                then
                    'batch '
                    || cast(
                        coalesce(judged_rows.unknown_batch_id, judged_rows.batch_id) as text
                    ) || ' recorded a change that is not in the value map'
            when judged_rows.repeated_batch_id is not null
                then
                    'recorded twice by batch ' || cast(judged_rows.repeated_batch_id as text)
            when judged_rows.is_there and not judged_rows.is_as_written and judged_rows.is_empty
                then 'without a value'
            when
                judged_rows.is_there and not judged_rows.is_as_written and judged_rows.is_untouched
                then
                    'and not touched since batch ' || cast(judged_rows.batch_id as text)
            when judged_rows.is_there and not judged_rows.is_as_written
                then 'edited since'
            when judged_rows.broken_batch_id is not null
                then
                    'edited in between, before batch ' || cast(judged_rows.broken_batch_id as text)
        end as because,
        judged_rows.value_after is null
        or judged_rows.unknown_batch_id is not null
        or judged_rows.repeated_batch_id is not null
        or (
            judged_rows.is_there
            and not judged_rows.is_as_written
            and not judged_rows.is_empty
            and judged_rows.is_untouched
        ) as is_failure
    from judged_rows
),

-- Every row is counted once, although several entries may be about it: those with several are odd.
counted_entries as (
    select
        coalesce(
            sum(
                case
                    when pieces.scope is null
                        then greatest(cardinality(pieces.row_keys), cardinality(pieces.map_ids))
                    else
                        (
                            select count(*) as entry_count
                            from unnest(pieces.tenants) as audited (tenant)
                            where
                                (
                                    cast(pieces.scope as text[]) is null
                                    or array_position(
                                        cast(pieces.scope as text[]),
                                        cast(audited.tenant as text) collate "C"
                                    ) is not null
                                )
                        )
                end
            ),
            0
        ) as entry_total
    from pieces
    where pieces.is_own
),

counted_rows as (
    select
        counted_entries.entry_total
        - coalesce(sum(odd_rows.own_entry_count - 1), 0) as row_total,
        counted_entries.entry_total
        - coalesce(
            sum(
                case
                    when odd_rows.is_as_written then odd_rows.own_entry_count - 1
                    else odd_rows.own_entry_count
                end
            ),
            0
        ) as rows_as_written
    from counted_entries
    left join odd_rows on true
    group by counted_entries.entry_total
),

counted_faults as (
    select
        count(explained_rows.because) as differing,
        count(*) filter (where explained_rows.is_failure) as failing,
        count(*) filter (
            where explained_rows.is_empty and not explained_rows.is_as_written
        ) as emptied,
        count(*) filter (where not explained_rows.is_there) as gone
    from explained_rows
),

differing_rows as (
    select
        explained_rows.is_failure,
        explained_rows.row_key,
        jsonb_build_object(
            'status', case when explained_rows.is_failure then 'fail' else 'warn' end,
            'message',
            'My Deals.stage, row ' || coalesce(explained_rows.shown_row_key, '?')
            || ': ' || coalesce('''' || explained_rows.shown_value_before || '''', '?')
            || ' → ' || coalesce('''' || explained_rows.shown_value_after || '''', '?')
            || case
                when not explained_rows.is_there then ''
                else ', now ' || coalesce('''' || explained_rows.shown_value_now || '''', 'NULL')
            end
            || ', ' || explained_rows.because,
            'table_name', 'My Deals',
            'column_name', 'stage',
            'tenant', explained_rows.tenant,
            'row_key', explained_rows.row_key,
            'batch_id', explained_rows.batch_id,
            'value_before', explained_rows.value_before,
            'value_written', explained_rows.value_after,
            'value_now', explained_rows.value_now
        ) as offender
    from explained_rows
    cross join places
    where
        explained_rows.because is not null
    order by
        explained_rows.is_failure desc,
        explained_rows.row_key asc
    limit (select request.most from request)
),

emptied_rows as (
    select
        explained_rows.is_failure,
        explained_rows.row_key,
        jsonb_build_object(
            'status', 'fail',
            'message',
            'My Deals.stage, row ' || coalesce(explained_rows.shown_row_key, '?')
            || ': ' || coalesce('''' || explained_rows.shown_value_before || '''', '?')
            || ' → ' || coalesce('''' || explained_rows.shown_value_after || '''', '?')
            || ', now '
            || case when explained_rows.value_now is null then 'NULL' else 'blank' end,
            'table_name', 'My Deals',
            'column_name', 'stage',
            'tenant', explained_rows.tenant,
            'row_key', explained_rows.row_key,
            'batch_id', explained_rows.batch_id,
            'value_before', explained_rows.value_before,
            'value_written', explained_rows.value_after,
            'value_now', explained_rows.value_now
        ) as offender
    from explained_rows
    cross join places
    where
        explained_rows.is_empty
        and not explained_rows.is_as_written
    order by
        explained_rows.row_key asc
    limit (select request.most from request)
),

gone_rows as (
    select
        explained_rows.is_failure,
        explained_rows.row_key,
        jsonb_build_object(
            'status', case when places.is_quiesced then 'fail' else 'warn' end,
            'message',
            'My Deals.stage, row ' || coalesce(explained_rows.shown_row_key, '?')
            || ': ' || coalesce('''' || explained_rows.shown_value_before || '''', '?')
            || ' → ' || coalesce('''' || explained_rows.shown_value_after || '''', '?')
            || ', deleted since',
            'table_name', 'My Deals',
            'column_name', 'stage',
            'tenant', explained_rows.tenant,
            'row_key', explained_rows.row_key,
            'batch_id', explained_rows.batch_id,
            'value_before', explained_rows.value_before,
            'value_written', explained_rows.value_after,
            'value_now', explained_rows.value_now
        ) as offender
    from explained_rows
    cross join places
    where
        not explained_rows.is_there
    order by
        explained_rows.row_key asc
    limit (select request.most from request)
),

results as (
    select
        'audit_consistency' as check_id,
        case
            when counted_faults.failing > 0 then 'fail'
            when counted_faults.differing > 0 then 'warn'
            else 'pass'
        end as status,
        'My Deals.stage: ' || cast(counted_rows.row_total as text)
        || ' changed rows, each as it was written last' as expected,
        'My Deals.stage: ' || cast(counted_rows.rows_as_written as text)
        || ' rows as they were written last, '
        || cast(counted_faults.differing as text) || ' edited or at odds with the audit, '
        || cast(counted_faults.gone as text) || ' deleted' as actual,
        coalesce(
            (
                select
                    jsonb_agg(
                        differing_rows.offender
                        order by
                            differing_rows.is_failure desc,
                            differing_rows.row_key asc
                    ) as offenders
                from differing_rows
            ),
            cast('[]' as jsonb)
        ) as offenders,
        counted_faults.differing as offender_count
    from places
    cross join counted_rows
    cross join counted_faults
    union all
    select
        'null_integrity' as check_id,
        case when counted_faults.emptied > 0 then 'fail' else 'pass' end as status,
        'My Deals.stage: no changed row without a value' as expected,
        'My Deals.stage: ' || cast(counted_faults.emptied as text)
        || ' changed rows without a value' as actual,
        coalesce(
            (
                select jsonb_agg(emptied_rows.offender order by emptied_rows.row_key) as offenders
                from emptied_rows
            ),
            cast('[]' as jsonb)
        ) as offenders,
        counted_faults.emptied as offender_count
    from places
    cross join counted_faults
    union all
    select
        'row_counts' as check_id,
        case
            when counted_faults.gone = 0 then 'pass'
            when places.is_quiesced then 'fail'
            else 'warn'
        end as status,
        'My Deals.stage: ' || cast(counted_rows.row_total as text)
        || ' changed rows are there' as expected,
        'My Deals.stage: '
        || cast(counted_rows.row_total - counted_faults.gone as text)
        || ' changed rows are there' as actual,
        coalesce(
            (
                select jsonb_agg(gone_rows.offender order by gone_rows.row_key) as offenders
                from gone_rows
            ),
            cast('[]' as jsonb)
        ) as offenders,
        counted_faults.gone as offender_count
    from places
    cross join counted_rows
    cross join counted_faults
)

select * from results
