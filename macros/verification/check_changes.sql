{#-
    The part of the check audit_consistency that is about rows, and the rows that null_integrity and
    row_counts can name: three rows for a column of the run, as CTEs and the last select of a
    statement that begins with verification_request().

    Every row that the run has changed must still have the value that, according to the audit, any
    run wrote last. If not, the row was edited since: a warning, because the table is in use; but a
    failure if updated_at says that the row was not touched since. From the row's first entry of
    this run on, each entry must begin with the value that the one before it wrote; if not, the row
    was edited in between. The value before the run is the one that its plan saw.

    clock_seconds, of the var verification: updated_at may be older than a batch by so much although
    its transaction ended later, because it waited for the batch. A time without a zone may be in
    another zone; then it only counts if it is exactly the time of a change of ours.
    trueup writes neither NULL nor blank. A changed row that is empty fails null_integrity if the
    transaction of its last entry wrote it as it is, or if nobody else writes (is_quiesced);
    otherwise another program emptied it, which is a warning.

    Joins are of texts, so that a malformed key in the audit does not raise; and they are full
    joins, which PostgreSQL can only hash or merge. It cannot know how many rows an array holds: in
    a table without statistics it expects one, and would compare every row with every other. More
    expensive steps run only if there are rows for them.
    check_changes(entry) → batches as ( ... ), ... select * from results
-#}
{%- macro check_changes(entry) -%}
{%- set table_text = trueup.literal(entry.table) -%}
{%- set column_text = trueup.literal(entry.column) -%}
{%- set cell = entry.table ~ '.' ~ entry.column -%}
{%- set value_now = trueup.binary_text('application.' ~ trueup.quoted(entry.column)) -%}
batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

control as (
    select * from {{ ref('stage_migration_control') }}
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
        control.table_name = {{ table_text }}
        and control.column_name = {{ column_text }}
        and (
            request.table_names is null
            or array_position(request.table_names, control.table_name) is not null
        )
),

column_entries as {{ trueup.computed_once() }} (
    select
        batches.run_id,
        batches.batch_id,
        places.tenants as scope,
        changes.run_at,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        changes.entry_id as place,
        changes.xmin as written_by,
        batches.run_id = places.run_id as is_own
    from places
    cross join batches
    inner join {{ ref('stage_normalization_changes') }} as changes
        on batches.batch_id = changes.batch_id
    where
        batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

-- all changes of the column since the run began there, by this run and by other runs, in order
pieces as {{ trueup.computed_once() }} (
    select column_entries.*
    from column_entries
    where
        column_entries.place >= (
            select min(own_entries.place)
            from column_entries as own_entries
            where own_entries.is_own
        )
),

own_values as (
    select
        value_map.run_id,
        value_map.map_id,
        value_map.value_before,
        value_map.value_after
    from value_map
    where
        value_map.table_name = {{ table_text }}
        and value_map.column_name = {{ column_text }}
        and value_map.map_id is not null
),

audited_rows as (
    select
        audited.row_key,
        max({{ trueup.binary_text('audited.tenant') }}) filter (where pieces.is_own) as tenant,
        count(*) as entry_count,
        count(*) filter (
            where
            pieces.is_own
            and {{ trueup.in_scope('tenant', 'audited', 'pieces.scope') | indent(12) }}
        ) as own_entry_count,
        min(pieces.place) filter (where pieces.is_own) as first_place,
        -- the number of the mapping in the low 16 bits, below the place of its entry in time
        min(pieces.place << 16 | (coalesce(audited.map_id, 0) & 65535)) filter (
            where pieces.is_own
        ) as first_entry,
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
            and {{ trueup.in_scope('tenant', 'audited', 'pieces.scope') | indent(12) }}
        ) > 0
),

current_rows as (
    select
        {{ trueup.key_text(entry.key, 'application') }}
            as row_key,
        {{ 'cast(application.' ~ trueup.quoted(entry.updated_at) if entry.updated_at
            else 'cast(null' }} as timestamptz) as updated_at,
        {{ 'pg_typeof(application.' ~ trueup.quoted(entry.updated_at) ~ ')' if entry.updated_at
            else 'cast(null as regtype)' }} as updated_type,
        application.xmin as row_version,
        {{ value_now }} as value_now
    from {{ trueup.application_table(entry) }} as application
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
        coalesce(own_values.value_after = current_rows.value_now, false) as is_as_written,
        -- changed by this run and then by another one, as after a rollback: no link is broken
        coalesce(
            audited_rows.own_entry_count = 1
            and audited_rows.entry_count = 2
            and audited_rows.first_place < pieces.place
            and first_values.value_after = own_values.value_before,
            false
        ) as is_linked,
        coalesce(current_rows.row_version = pieces.written_by, false) as is_last_version
    from audited_rows
    full join pieces
        on audited_rows.last_entry >> 16 = pieces.place
    full join own_values
        on
            pieces.run_id = own_values.run_id
            and audited_rows.last_entry & 65535 = own_values.map_id
    full join own_values as first_values
        on
            case
                when audited_rows.entry_count = 2 then (select places.run_id from places)
            end = first_values.run_id
            and audited_rows.first_entry & 65535 = first_values.map_id
    full join current_rows
        on audited_rows.row_key = current_rows.row_key
    -- not `is not null`, which would turn the full joins into others
    where coalesce(audited_rows.entry_count, 0) > 0
),

-- the rows that need a look
odd_rows as {{ trueup.computed_once() }} (
    select * from compared_rows
    where
        not compared_rows.is_as_written
        or (compared_rows.entry_count > 1 and not compared_rows.is_linked)
),

-- only if there are rows with several entries among them
single_entries as {{ trueup.computed_once() }} (
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
    full join odd_rows
        on entries.row_key = odd_rows.row_key
    full join own_values
        on
            entries.run_id = own_values.run_id
            and entries.map_id = own_values.map_id
    where coalesce(odd_rows.entry_count > 1 and entries.place >= odd_rows.first_place, false)
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
            or {{ trueup.is_blank('odd_rows.value_now') | indent(12) }}
        ) as is_empty,
        -- a run touched the row last, according to its updated_at. If a trigger keeps updated_at,
        -- a time before the batch means an edit, too
        coalesce(
            odd_rows.updated_at = odd_rows.run_at
            or (
                odd_rows.updated_type = cast('timestamptz' as regtype)
                and odd_rows.updated_at
                < odd_rows.run_at - make_interval(secs => {{ var('verification').clock_seconds }})
                and not exists (
                    select 1 as found
                    from pg_catalog.pg_trigger
                    where
                        pg_trigger.tgrelid
                        = cast({{ trueup.literal(trueup.application_table(entry)) }} as regclass)
                        and pg_trigger.tgtype & 18 = 18 -- before, update
                        and pg_trigger.tgenabled <> 'D'
                        and not pg_trigger.tgisinternal
                        and not {{ trueup.is_guard_trigger() | indent(24) }}
                )
            ),
            false
        ) as is_untouched
    from odd_rows
    full join judged_links
        on odd_rows.row_key = judged_links.row_key
),

explained_rows as {{ trueup.computed_once() }} (
    select
        judged_rows.*,
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
                                {{ trueup.in_scope('tenant', 'audited', 'pieces.scope')
                                    | indent(32) }}
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
        count(*) filter (
            where
            explained_rows.is_empty
            and not explained_rows.is_as_written
            and (explained_rows.is_last_version or places.is_quiesced)
        ) as emptied_by_run,
        count(*) filter (where not explained_rows.is_there) as gone
    from places
    cross join explained_rows
),

{%- set offenders = {
    'differing': {
        'condition': 'explained_rows.because is not null',
        'order': 'explained_rows.is_failure desc,',
        'status': "case when explained_rows.is_failure then 'fail' else 'warn' end",
        'message': "|| case
                when not explained_rows.is_there then ''
                else
                    ', now '
                    || coalesce(
                        ''''
                        || " ~ trueup.one_line('explained_rows.value_now') ~ "
                        || '''',
                        'NULL'
                    )
            end
            || ', ' || explained_rows.because",
    },
    'emptied': {
        'condition': 'explained_rows.is_empty\n        and not explained_rows.is_as_written',
        'order': 'explained_rows.is_last_version desc,',
        'status': "case
                when explained_rows.is_last_version or places.is_quiesced then 'fail'
                else 'warn'
            end",
        'message': "|| ', now '
            || case when explained_rows.value_now is null then 'NULL' else 'blank' end
            || case
                when explained_rows.is_last_version
                    then ', in the transaction of batch ' || cast(explained_rows.batch_id as text)
                else ', emptied since'
            end",
    },
    'gone': {
        'condition': 'not explained_rows.is_there',
        'order': '',
        'status': "case when places.is_quiesced then 'fail' else 'warn' end",
        'message': "|| ', deleted since'",
    },
} %}
{%- for name, offender in offenders.items() %}

{{ name }}_rows as (
    select
        explained_rows.is_failure,
        explained_rows.is_last_version,
        explained_rows.row_key,
        jsonb_build_object(
            'status', {{ offender.status }},
            'message',
            {{ trueup.literal(cell ~ ', row ') }}
            || coalesce({{ trueup.one_line('explained_rows.row_key') }}, '?') || ': '
            || coalesce(
                ''''
                || {{ trueup.one_line('explained_rows.value_before') }}
                || '''',
                '?'
            )
            || ' → '
            || coalesce(
                ''''
                || {{ trueup.one_line('explained_rows.value_after') }}
                || '''',
                '?'
            )
            {{ offender.message }},
            'table_name', {{ table_text }},
            'column_name', {{ column_text }},
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
        {{ offender.condition }}
    order by
        {{ offender.order ~ '\n        ' if offender.order }}explained_rows.row_key asc
    limit {{ trueup.requested('most') | indent(4) }}
),
{%- endfor %}

results as (
    select
        'audit_consistency' as code,
        case
            when counted_faults.failing > 0 then 'fail'
            when counted_faults.differing > 0 then 'warn'
            else 'ok'
        end as status,
        {{ trueup.literal(cell ~ ': ') }} || cast(counted_rows.row_total as text)
        || ' changed rows, each as it was written last' as expected,
        {{ trueup.literal(cell ~ ': ') }} || cast(counted_rows.rows_as_written as text)
        || ' rows as they were written last, '
        || cast(counted_faults.differing as text) || ' edited or at odds with the audit, '
        || cast(counted_faults.gone as text) || ' deleted' as found,
        coalesce(
            (
                select
                    jsonb_agg(
                        differing_rows.offender
                        order by
                            differing_rows.is_failure desc,
                            differing_rows.row_key asc
                    ) as sample
                from differing_rows
            ),
            cast('[]' as jsonb)
        ) as sample,
        counted_faults.differing as rows
    from places
    cross join counted_rows
    cross join counted_faults
    union all
    select
        'null_integrity' as code,
        case
            when counted_faults.emptied_by_run > 0 then 'fail'
            when counted_faults.emptied > 0 then 'warn'
            else 'ok'
        end as status,
        {{ trueup.literal(cell ~ ': no changed row without a value') }} as expected,
        {{ trueup.literal(cell ~ ': ') }} || cast(counted_faults.emptied as text)
        || ' changed rows without a value' as found,
        coalesce(
            (
                select
                    jsonb_agg(
                        emptied_rows.offender
                        order by
                            emptied_rows.is_last_version desc,
                            emptied_rows.row_key asc
                    ) as sample
                from emptied_rows
            ),
            cast('[]' as jsonb)
        ) as sample,
        counted_faults.emptied as rows
    from places
    cross join counted_faults
    union all
    select
        'row_counts' as code,
        case
            when counted_faults.gone = 0 then 'ok'
            when places.is_quiesced then 'fail'
            else 'warn'
        end as status,
        {{ trueup.literal(cell ~ ': ') }} || cast(counted_rows.row_total as text)
        || ' changed rows are there' as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(counted_rows.row_total - counted_faults.gone as text)
        || ' changed rows are there' as found,
        coalesce(
            (
                select jsonb_agg(gone_rows.offender order by gone_rows.row_key) as sample
                from gone_rows
            ),
            cast('[]' as jsonb)
        ) as sample,
        counted_faults.gone as rows
    from places
    cross join counted_rows
    cross join counted_faults
)

select * from results
{%- endmacro -%}
