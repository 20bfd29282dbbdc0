{#-
    The checks of one pass over a managed column, as CTEs after `request` and the final select: all
    values are canonical, no value became empty, the number of rows is the same; and the figures of
    each tenant. check_values(entry); entry is one of managed_columns().

    Rows up to the frozen bound are those that the plan saw; rows beyond it came later. If the plan
    recorded no bound, it is the end of the last batch; without batches all rows are judged, unless
    the table was empty. No row if the column is not part of the run or not in the request.

    Values that were decided as ambiguous or out of scope, in the plan or since, are information:
    they stay as they are. Undecided values warn, and come before them.

    trueup writes neither NULL nor blank, so more empty rows of a tenant than before are a warning:
    another program emptied them, or moved them there. Nobody did if nobody else writes
    (is_quiesced): then they are a failure. Rows are only named if they certainly were not empty
    before: if every row that was empty is still the version that the plan saw.

    The bound, the tenants and the conditions of the second passes are scalar subqueries: they are
    computed once, while a join would rule out a parallel pass over the table. Joins of values and
    of row keys are full joins, which PostgreSQL can only hash or merge: without statistics it would
    expect one row, and compare every row with every other.
-#}
{%- macro check_values(entry) -%}
{%- set table_text = trueup.literal(entry.table) -%}
{%- set column_text = trueup.literal(entry.column) -%}
{%- set cell = entry.table ~ '.' ~ entry.column -%}
{%- set tenant = trueup.tenant_text('application', entry.tenant) -%}
{%- set raw_value = trueup.binary_text('application.' ~ trueup.quoted(entry.column)) -%}
{%- set is_asked -%}
(
    (select places.tenants from places) is null
    or array_position(
        (select places.tenants from places), {{ tenant }}
    ) is not null
)
{%- endset -%}
{%- set is_seen -%}
(
    ({{ trueup.key_columns(entry.key, 'application') }}) <= (
        select
            {%- for name in trueup.numbered_key(entry.key) %}
            {{- '\n            ' if entry.key | length > 1 else ' ' -}}
            bounds.{{ name }}{{ ',' if not loop.last }}
            {%- endfor %}
        from bounds
    )
    or (select bounds.is_open from bounds)
)
{%- endset -%}
{%- set is_left -%}
(select bool_or(odd_values.is_planned) from odd_values)
and {{ raw_value }} in (
    select planned.raw_value
    from
        unnest(
            (
                select array_agg(odd_values.raw_value)
                from odd_values
                where odd_values.is_planned
            )
        ) as planned (raw_value)
)
and {{ is_seen }}
and {{ is_asked }}
{%- endset -%}
control as (
    select * from {{ ref('stage_migration_control') }}
),

batches as {{ trueup.read_in_place() }} (
    select * from {{ ref('stage_migration_batches') }}
),

changes as {{ trueup.read_in_place() }} (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as {{ trueup.read_in_place() }} (
    select * from {{ ref('migration_value_map') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

quarantine as (
    select * from {{ ref('migration_quarantine') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

resolved_values as (
    select * from {{ ref('int_values') }}
),

-- one row, or none
places as (
    select
        request.run_id,
        request.judges_values,
        request.tenants,
        request.is_quiesced,
        request.most,
        request.taken_back_by,
        control.range_end
    from request
    inner join control
        on request.run_id = control.run_id
    where
        control.table_name = {{ table_text }}
        and control.column_name = {{ column_text }}
        and (
            request.table_names is null
            or {{ table_text }} = any(request.table_names)
        )
        {%- if not entry.tenant %}
        and {{ trueup.in_scope(none, 'control', 'request.tenants') | indent(8) }}
        {%- endif %}
),

bounds as (
    select
        {%- for type in entry.key.values() %}
        cast((places.range_end)[{{ loop.index }}] as {{ type }}) as key_{{ loop.index }},
        {%- endfor %}
        places.range_end is null
        and exists (
            select 1 as found
            from baselines
            where
                baselines.run_id = places.run_id
                and baselines.table_name = {{ table_text }}
                and baselines.column_name = {{ column_text }}
        ) as is_open
    from places
),

run_baselines as (
    select baselines.*
    from places
    inner join baselines
        on places.run_id = baselines.run_id
    where
        baselines.table_name = {{ table_text }}
        and baselines.column_name = {{ column_text }}
        and (
            places.tenants is null
            or array_position(places.tenants, baselines.tenant) is not null
        )
),

run_values as (
    select value_map.*
    from places
    inner join value_map
        on places.run_id = value_map.run_id
    where
        value_map.table_name = {{ table_text }}
        and value_map.column_name = {{ column_text }}
),

counted_values as {{ trueup.computed_once() }} (
    select
        {{ tenant }} as tenant,
        {{ raw_value }} as raw_value,
        count(*) as rows_now,
        count(*) filter (
            where {{ is_seen | indent(12) }}
        ) as rows_seen
    from {{ trueup.application_table(entry) }} as application
    where
        (select count(*) from bounds) > 0
        and {{ is_asked | indent(8) }}
    group by
        {{ trueup.tenant_groups('application', entry.tenant) | indent(8) }},
        {{ raw_value }}
),

canonical_values as (
    select vocabulary_keys.canonical_value
    from vocabulary_keys
    where vocabulary_keys.vocabulary = {{ trueup.literal(entry.vocabulary) }}
    group by vocabulary_keys.canonical_value
),

values_now as (
    select
        counted_values.raw_value,
        sum(counted_values.rows_now) as rows_now,
        sum(counted_values.rows_seen) as rows_seen
    from counted_values
    where counted_values.raw_value is not null
    group by counted_values.raw_value
),

known_values as {{ trueup.computed_once() }} (
    select
        values_now.*,
        canonical_values.canonical_value is not null as is_canonical,
        canonical_values.canonical_value is null
        and {{ trueup.is_blank('values_now.raw_value') | indent(8) }} as is_blank
    from values_now
    left join canonical_values
        on values_now.raw_value = canonical_values.canonical_value
),

-- what is known of a value now; a decision may be younger than the plan
left_values as (
    select
        resolved_values.raw_value,
        resolved_values.resolution
    from resolved_values
    where
        resolved_values.vocabulary = {{ trueup.literal(entry.vocabulary) }}
        and resolved_values.resolution in ('ambiguous', 'out_of_scope', 'unknown')
),

values_before as (
    select
        counts.raw_value,
        sum(cast(counts.row_text as bigint)) as rows_before
    from run_baselines
    cross join jsonb_each_text(run_baselines.row_counts) as counts (raw_value, row_text)
    group by counts.raw_value
),

-- Neither canonical nor blank; a rollback restores such values on purpose.
odd_values as {{ trueup.computed_once() }} (
    select
        known_values.raw_value,
        known_values.rows_now,
        known_values.rows_seen,
        values_before.rows_before,
        run_values.map_id,
        coalesce(left_values.resolution, run_values.match_type, 'canonical') as reason,
        run_values.map_id is not null and known_values.rows_seen > 0 as is_planned
    from known_values
    full join run_values
        on known_values.raw_value = run_values.value_before
    full join left_values
        on known_values.raw_value = left_values.raw_value
    full join values_before
        on known_values.raw_value = values_before.raw_value
    where
        (select places.judges_values from places)
        and coalesce(not known_values.is_canonical and not known_values.is_blank, false)
),

-- Rows that still have a planned value. Those written after the plan, or changed by the run before,
-- were edited by other users. All other rows are missed.
{{ trueup.dirty_rows(entry, is_left, '(select places.run_id from places)') }},

refused_rows as (
    select quarantine.row_key
    from quarantine
    where
        quarantine.run_id = (select places.run_id from places)
        and quarantine.table_name = {{ table_text }}
        and quarantine.column_name = {{ column_text }}
),

-- The run's audit entries of this column; read only if needed.
own_changes as {{ trueup.read_in_place() }} (
    select
        changes.row_keys,
        changes.tenants,
        changes.map_ids
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    where
        changes.run_id = (select places.run_id from places)
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

own_rows as {{ trueup.read_in_place() }} (
    select
        audited.row_key,
        audited.map_id
    from own_changes
    cross join
        unnest(own_changes.row_keys, own_changes.tenants, own_changes.map_ids)
            as audited (row_key, tenant, map_id)
    where
        (select places.tenants from places) is null
        or array_position(
            (select places.tenants from places), audited.tenant
        ) is not null
),

-- An edit of another column makes a row younger, missed or not. Then only the ledger's counts tell:
-- rows of a planned value that the run has changed, that were refused, or that are certainly
-- missed.
accounted_rows as (
    select
        odd_values.raw_value,
        own_rows.row_key
    from own_rows
    full join odd_values
        on own_rows.map_id = odd_values.map_id
    where
        (select bool_or(any_values.is_planned) from odd_values as any_values)
        and coalesce(own_rows.row_key is not null and odd_values.is_planned, false)
    union
    select
        dirty_rows.raw_value,
        dirty_rows.row_key
    from dirty_rows
    full join refused_rows
        on dirty_rows.row_key = refused_rows.row_key
    where coalesce(dirty_rows.is_missed or refused_rows.row_key is not null, false)
),

accounted_values as (
    select
        accounted_rows.raw_value,
        count(*) as row_count
    from accounted_rows
    group by accounted_rows.raw_value
),

missed_values as (
    select
        dirty_rows.raw_value,
        count(*) as rows_missed,
        min(dirty_rows.row_key) as row_key
    from dirty_rows
    where dirty_rows.is_missed
    group by dirty_rows.raw_value
),

-- What rollbacks of the run have restored, by their audit; nothing is read if there are none.
restoring_changes as (
    select
        changes.run_id,
        changes.tenants,
        changes.map_ids
    from places
    cross join lateral unnest(places.taken_back_by) as reverting (run_id)
    inner join changes
        on changes.run_id = cast(reverting.run_id as uuid)
    inner join batches
        on changes.batch_id = batches.batch_id
    where
        batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

restored_rows as (
    select
        restoring_changes.run_id,
        restored.map_id,
        count(*) as row_count
    from restoring_changes
    cross join
        unnest(restoring_changes.tenants, restoring_changes.map_ids) as restored (tenant, map_id)
    where
        (select places.tenants from places) is null
        or array_position(
            (select places.tenants from places), restored.tenant
        ) is not null
    group by
        restoring_changes.run_id,
        restored.map_id
),

restored_values as (
    select
        value_map.value_after as raw_value,
        sum(restored_rows.row_count) as row_count,
        string_agg(
            distinct left(cast(restored_rows.run_id as text), 8), ', '
        ) as restored_by
    from restored_rows
    inner join value_map
        on
            restored_rows.run_id = value_map.run_id
            and restored_rows.map_id = value_map.map_id
    where
        value_map.table_name = {{ table_text }}
        and value_map.column_name = {{ column_text }}
    group by value_map.value_after
),

judged_values as (
    select
        odd_values.raw_value,
        odd_values.rows_now,
        missed_values.row_key,
        restored_values.restored_by,
        coalesce(restored_values.row_count, 0) as rows_restored,
        coalesce(missed_values.rows_missed, 0) as rows_missed,
        case
            when odd_values.is_planned then 0
            else least(odd_values.rows_seen, coalesce(odd_values.rows_before, 0))
        end as rows_left,
        case
            when odd_values.is_planned
                then
                    least(
                        odd_values.rows_seen - coalesce(missed_values.rows_missed, 0),
                        greatest(
                            coalesce(odd_values.rows_before, 0)
                            - coalesce(accounted_values.row_count, 0),
                            0
                        )
                    )
            else 0
        end as rows_perhaps_missed,
        odd_values.reason,
        odd_values.reason in ('ambiguous', 'out_of_scope') as is_decided
    from odd_values
    full join missed_values
        on odd_values.raw_value = missed_values.raw_value
    full join accounted_values
        on odd_values.raw_value = accounted_values.raw_value
    full join restored_values
        on odd_values.raw_value = restored_values.raw_value
    where coalesce(odd_values.rows_now, 0) > 0
),

value_lines as (
    select
        'fail' as status,
        judged_values.raw_value,
        judged_values.rows_missed as row_count,
        0 as rows_perhaps_missed,
        'missed' as reason,
        'not changed' as words,
        judged_values.row_key
    from judged_values
    where judged_values.rows_missed > 0
    union all
    select
        case when judged_values.is_decided then 'info' else 'warn' end as status,
        judged_values.raw_value,
        judged_values.rows_left as row_count,
        0 as rows_perhaps_missed,
        judged_values.reason,
        case judged_values.reason
            when 'canonical' then 'canonical when it was planned'
            else judged_values.reason
        end as words,
        null as row_key
    from judged_values
    where judged_values.rows_left > 0
    union all
    select
        'warn' as status,
        judged_values.raw_value,
        least(
            judged_values.rows_now - judged_values.rows_missed - judged_values.rows_left,
            judged_values.rows_restored
        ) as row_count,
        0 as rows_perhaps_missed,
        'restored' as reason,
        'restored by run ' || judged_values.restored_by as words,
        null as row_key
    from judged_values
    where
        judged_values.rows_restored > 0
        and judged_values.rows_now > judged_values.rows_missed + judged_values.rows_left
    union all
    select
        case when judged_values.is_decided then 'info' else 'warn' end as status,
        judged_values.raw_value,
        judged_values.rows_now - judged_values.rows_missed - judged_values.rows_left
        - judged_values.rows_restored as row_count,
        judged_values.rows_perhaps_missed,
        'written_since' as reason,
        'written since the plan'
        || case when judged_values.is_decided then ', ' || judged_values.reason else '' end
            as words,
        null as row_key
    from judged_values
    where
        judged_values.rows_now
        > judged_values.rows_missed + judged_values.rows_left + judged_values.rows_restored
),

placed_value_lines as (
    select
        value_lines.*,
        row_number() over (
            order by
                array_position(array['fail', 'warn', 'info'], value_lines.status) asc,
                value_lines.row_count desc,
                value_lines.raw_value asc,
                value_lines.reason asc
        ) as place
    from value_lines
),

value_result as (
    select
        'canonical_values' as code,
        case
            when bool_or(found.status = 'fail') then 'fail'
            when bool_or(found.status = 'warn') then 'warn'
            else 'ok'
        end as status,
        {{ trueup.literal(cell ~ ': every value is canonical, or was decided on') }}
            as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(
            coalesce(sum(found.row_count) filter (where found.reason = 'missed'), 0) as text
        )
        || ' rows not changed, '
        || cast(
            coalesce(
                sum(found.row_count) filter (where found.reason = 'written_since'), 0
            ) as text
        )
        || ' written since the plan, '
        || cast(
            coalesce(
                sum(found.row_count) filter (
                    where found.reason not in ('missed', 'written_since', 'restored')
                ),
                0
            ) as text
        )
        || ' left as they were'
        || coalesce(
            ', ' || cast(
                sum(found.row_count) filter (where found.reason = 'restored') as text
            ) || ' restored by a rollback',
            ''
        ) as found,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', found.status,
                    'message', {{ trueup.literal(cell ~ ', \'') }}
                    || {{ trueup.one_line('found.raw_value') }} || ''': '
                    || cast(found.row_count as text)
                    || case when found.row_count = 1 then ' row, ' else ' rows, ' end
                    || found.words
                    || coalesce(
                        ', for example row '
                        || {{ trueup.one_line('found.row_key') }},
                        ''
                    )
                    || case
                        when found.rows_perhaps_missed > 0
                            then
                                '; by the books, ' || cast(found.rows_perhaps_missed as text)
                                || ' of them may have been missed by the run'
                        else ''
                    end,
                    'table_name', {{ table_text }},
                    'column_name', {{ column_text }},
                    'value', found.raw_value,
                    'rows', found.row_count,
                    'reason', found.reason,
                    'rows_perhaps_missed', found.rows_perhaps_missed,
                    'row_key', found.row_key
                )
                order by found.place
            ) filter (where coalesce(found.place <= places.most, found.place is not null)),
            '[]'
        ) as sample,
        count(found.status) as rows
    from places
    left join placed_value_lines as found
        on true
    where places.judges_values
    group by places.judges_values
),

tenants_now as (
    select
        counted_values.tenant,
        sum(counted_values.rows_seen) as rows_seen,
        sum(counted_values.rows_now) - sum(counted_values.rows_seen) as rows_since,
        coalesce(
            sum(counted_values.rows_seen) filter (where counted_values.raw_value is null), 0
        ) as nulls,
        coalesce(sum(counted_values.rows_seen) filter (where known_values.is_blank), 0) as blanks,
        coalesce(
            sum(counted_values.rows_seen) filter (
                where not known_values.is_canonical and not known_values.is_blank
            ),
            0
        ) as rows_left,
        count(known_values.raw_value) filter (where counted_values.rows_seen > 0)
            as distinct_values
    from counted_values
    full join known_values
        on counted_values.raw_value = known_values.raw_value
    group by counted_values.tenant
),

compared_tenants as (
    select
        coalesce(tenants_now.tenant, baselines.tenant) as tenant,
        coalesce(tenants_now.rows_seen, 0) as rows_seen,
        coalesce(tenants_now.rows_since, 0) as rows_since,
        coalesce(tenants_now.nulls, 0) as nulls,
        coalesce(tenants_now.blanks, 0) as blanks,
        coalesce(tenants_now.rows_left, 0) as rows_left,
        coalesce(tenants_now.distinct_values, 0) as distinct_values,
        coalesce(baselines.rows, 0) as rows_before,
        coalesce(baselines.nulls, 0) as nulls_before,
        coalesce(baselines.blanks, 0) as blanks_before
    from tenants_now
    full outer join run_baselines as baselines
        on coalesce('=' || tenants_now.tenant, '') = coalesce('=' || baselines.tenant, '')
),

judged_tenants as (
    select
        compared_tenants.*,
        coalesce(
            {{ trueup.literal(entry.tenant_label ~ ' ') }}
            || {{ trueup.one_line('compared_tenants.tenant') }},
            {{ trueup.literal('no ' ~ entry.tenant_label) }}
        ) as tenant_name,
        compared_tenants.nulls + compared_tenants.blanks
        > compared_tenants.nulls_before + compared_tenants.blanks_before as is_emptier,
        case
            when
                sum(compared_tenants.nulls + compared_tenants.blanks) over ()
                <= sum(compared_tenants.nulls_before + compared_tenants.blanks_before) over ()
                then
                    {{ trueup.literal(
                        'the column as a whole has no more, so rows may have changed their '
                        ~ entry.tenant_label
                    ) }}
            when
                compared_tenants.nulls + compared_tenants.blanks
                <= compared_tenants.nulls_before + compared_tenants.blanks_before
                + greatest(compared_tenants.rows_seen - compared_tenants.rows_before, 0)
                then 'rows that came since may have come without a value'
        end as explanation
    from compared_tenants
),

-- read only if a tenant has more empty rows than that
empty_rows as {{ trueup.computed_once() }} (
    select
        {{ trueup.key_text(entry.key, 'application') }}
        {{- '\n            ' if entry.key | length > 1 else ' ' }}as row_key,
        {{ tenant }} as tenant,
        {{ raw_value }} as raw_value,
        {{ trueup.is_younger('application') | indent(8) }} as is_younger,
        row_number() over (order by {{ trueup.key_columns(entry.key, 'application') }}) as place
    from {{ trueup.application_table(entry) }} as application
    where
        (
            select bool_or(tenants.is_emptier and tenants.explanation is null)
            from judged_tenants as tenants
        )
        and (
            {{ raw_value }} is null
            or {{ raw_value }} = any(
                cast(
                    (
                        select array_agg(known_values.raw_value)
                        from known_values
                        where known_values.is_blank
                    ) as text[]
                )
            )
        )
        and {{ is_seen | indent(8) }}
        and {{ is_asked | indent(8) }}
),

-- Of some tenants nothing is certain: a row may have come from another one. The audit names the
-- rows that the run has changed.
emptied_rows as (
    select
        empty_rows.row_key,
        empty_rows.tenant,
        empty_rows.raw_value,
        empty_rows.place
    from empty_rows
    full join own_rows
        on empty_rows.row_key = own_rows.row_key
    where
        (select places.tenants from places) is null
        and (
            select count(*)
            from empty_rows as old_rows
            where not old_rows.is_younger
        ) = (
            select sum(tenants.nulls_before + tenants.blanks_before)
            from judged_tenants as tenants
        )
        and coalesce(empty_rows.is_younger and own_rows.row_key is null, false)
        and array_position(
            (
                select array_agg(tenants.tenant)
                from judged_tenants as tenants
                where
                    tenants.is_emptier
                    and tenants.explanation is null
            ),
            empty_rows.tenant
        ) is not null
),

empty_lines as (
    select
        1 as part,
        row_number() over (order by tenants.tenant) as place_in_part,
        {{ trueup.literal(cell ~ ', ') }} || tenants.tenant_name || ': '
        || cast(tenants.nulls as text) || ' NULL and ' || cast(tenants.blanks as text)
        || ' blank, before ' || cast(tenants.nulls_before as text) || ' and '
        || cast(tenants.blanks_before as text)
        || '; ' || coalesce(
            tenants.explanation, 'since the plan, values were emptied or rows were moved here'
        ) as message,
        jsonb_build_object(
            'tenant', tenants.tenant,
            'nulls', tenants.nulls,
            'blanks', tenants.blanks,
            'nulls_before', tenants.nulls_before,
            'blanks_before', tenants.blanks_before
        ) as details
    from judged_tenants as tenants
    where tenants.is_emptier
    union all
    select
        2 as part,
        emptied_rows.place as place_in_part,
        {{ trueup.literal(cell ~ ', row ') }}
        || {{ trueup.one_line('emptied_rows.row_key') }} || ': '
        || case when emptied_rows.raw_value is null then 'NULL' else 'blank' end
        || ', written since the plan' as message,
        jsonb_build_object(
            'tenant', emptied_rows.tenant,
            'row_key', emptied_rows.row_key,
            'value', emptied_rows.raw_value
        ) as details
    from emptied_rows
),

placed_empty_lines as (
    select
        empty_lines.*,
        case when places.is_quiesced then 'fail' else 'warn' end as status,
        row_number() over (
            order by
                empty_lines.part asc,
                empty_lines.place_in_part asc
        ) as place
    from places
    cross join empty_lines
),

tenant_totals as (
    select
        coalesce(sum(tenants.nulls), 0) as nulls,
        coalesce(sum(tenants.blanks), 0) as blanks,
        coalesce(sum(tenants.nulls_before), 0) as nulls_before,
        coalesce(sum(tenants.blanks_before), 0) as blanks_before,
        coalesce(sum(tenants.rows_seen), 0) as rows_seen,
        coalesce(sum(tenants.rows_before), 0) as rows_before,
        coalesce(sum(tenants.rows_left), 0) as rows_left,
        count(*) as tenant_count
    from judged_tenants as tenants
),

empty_result as (
    select
        'null_integrity' as code,
        coalesce(max(found.status), 'ok') as status,
        {{ trueup.literal(cell ~ ': no tenant has more than before, ') }}
        || cast(tenant_totals.nulls_before as text) || ' NULL and '
        || cast(tenant_totals.blanks_before as text) || ' blank' as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(tenant_totals.nulls as text) || ' NULL and '
        || cast(tenant_totals.blanks as text) || ' blank' as found,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', found.status,
                    'message', found.message,
                    'table_name', {{ table_text }},
                    'column_name', {{ column_text }}
                ) || found.details
                order by found.place
            ) filter (where coalesce(found.place <= places.most, found.place is not null)),
            '[]'
        ) as sample,
        count(found.status) as rows
    from places
    cross join tenant_totals
    left join placed_empty_lines as found
        on true
    group by
        tenant_totals.nulls_before,
        tenant_totals.blanks_before,
        tenant_totals.nulls,
        tenant_totals.blanks
),

-- trueup's role can neither insert nor delete: other users did
row_lines as (
    select
        case when places.is_quiesced then 'fail' else 'warn' end as status,
        tenants.*,
        row_number() over (
            order by
                abs(tenants.rows_seen - tenants.rows_before) desc,
                tenants.tenant asc
        ) as place
    from places
    cross join judged_tenants as tenants
    where tenants.rows_seen <> tenants.rows_before
),

row_result as (
    select
        'row_counts' as code,
        coalesce(max(found.status), 'ok') as status,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(tenant_totals.rows_before as text)
        || ' rows, as many of every tenant as before' as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(tenant_totals.rows_seen as text) || ' rows, '
        || cast(count(found.status) as text)
        || ' tenants with another number' as found,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', found.status,
                    'message', {{ trueup.literal(cell ~ ', ') }} || found.tenant_name || ': '
                    || cast(found.rows_seen as text) || ' rows, before '
                    || cast(found.rows_before as text),
                    'table_name', {{ table_text }},
                    'column_name', {{ column_text }},
                    'tenant', found.tenant,
                    'rows', found.rows_seen,
                    'rows_before', found.rows_before
                )
                order by found.place
            ) filter (where coalesce(found.place <= places.most, found.place is not null)),
            '[]'
        ) as sample,
        count(found.status) as rows
    from places
    cross join tenant_totals
    left join row_lines as found
        on true
    group by
        tenant_totals.rows_before,
        tenant_totals.rows_seen
),

changed_tenants as (
    select unnest(own_changes.tenants) as tenant
    from own_changes
),

tenants_changed as (
    select
        changed_tenants.tenant,
        count(*) as rows_changed
    from changed_tenants
    group by changed_tenants.tenant
),

-- the rows of no tenant first, then the tenants with the most
tenant_lines as (
    select
        tenants.*,
        coalesce(tenants_changed.rows_changed, 0) as rows_changed,
        row_number() over (
            order by
                tenants.tenant is null desc,
                tenants.rows_seen desc,
                tenants.tenant asc
        ) as place
    from judged_tenants as tenants
    full join tenants_changed
        on coalesce('=' || tenants.tenant, '') = coalesce('=' || tenants_changed.tenant, '')
    where coalesce(tenants.rows_seen, -1) >= 0
),

tenant_result as (
    select
        'per_fund_breakdown' as code,
        'info' as status,
        {{ trueup.literal(cell ~ ': what each tenant has') }} as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(count(found.place) as text) || ' tenants, '
        || cast(tenant_totals.rows_seen as text) || ' rows, '
        || cast(coalesce(sum(found.rows_changed), 0) as text) || ' changed, '
        || cast(tenant_totals.rows_left as text) || ' left' as found,
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'status', 'info',
                    'message', {{ trueup.literal(cell ~ ', ') }} || found.tenant_name || ': '
                    || cast(found.rows_seen as text) || ' rows, '
                    || cast(found.distinct_values as text) || ' values, '
                    || cast(found.rows_changed as text) || ' changed, '
                    || cast(found.rows_left as text) || ' left, '
                    || cast(found.nulls + found.blanks as text) || ' empty',
                    'table_name', {{ table_text }},
                    'column_name', {{ column_text }},
                    'tenant', found.tenant,
                    'rows', found.rows_seen,
                    'rows_since', found.rows_since,
                    'distinct_values', found.distinct_values,
                    'rows_changed', found.rows_changed,
                    'rows_left', found.rows_left,
                    'rows_empty', found.nulls + found.blanks
                )
                order by found.place
            ) filter (where coalesce(found.place <= places.most, found.place is not null)),
            '[]'
        ) as sample,
        count(found.place) as rows
    from places
    cross join tenant_totals
    left join tenant_lines as found
        on true
    group by
        tenant_totals.rows_seen,
        tenant_totals.rows_left
)

select * from value_result
union all
select * from empty_result
union all
select * from row_result
union all
select * from tenant_result
{%- endmacro -%}
