-- Named statements of `trueup verify`: is the data what it should be, and did nothing else move?
-- Each returns rows (check_id, status, expected, actual, offenders); all are run in one snapshot.

-- name: verify_places(run_id)
-- The columns of the run, whatever is managed by now.
select
    control.table_name,
    control.column_name
from {{ ref('stage_migration_control') }} as control
where control.run_id = $1
order by
    control.table_name,
    control.column_name;

-- name: verify_batch_tracking(run_id)
-- Every batch of the run is completed, nothing failed, nothing is quarantined.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

batch_findings as (
    select
        count(*) as batch_total,
        count(*) filter (where batches.status = 'completed') as batches_completed,
        coalesce(sum(batches.rows_failed), 0) as rows_failed,
        array_agg(
            'batch ' || cast(batches.batch_id as text) || ' of ' || batches.table_name || '.'
            || batches.column_name || ' is ' || batches.status
            || coalesce(': ' || batches.error_message, '')
            || case
                when batches.rows_failed > 0
                    then ', ' || cast(batches.rows_failed as text) || ' rows quarantined'
                else ''
            end
            order by batches.batch_id
        ) filter (where batches.status <> 'completed' or batches.rows_failed > 0) as offenders
    from batches
    where batches.run_id = $1
)

select
    'batch_tracking' as check_id,
    case when batch_findings.offenders is null then 'pass' else 'fail' end as status,
    cast(batch_findings.batch_total as text)
    || ' batches completed, 0 rows quarantined' as expected,
    cast(batch_findings.batches_completed as text) || ' batches completed, '
    || cast(batch_findings.rows_failed as text) || ' rows quarantined' as actual,
    coalesce(batch_findings.offenders, cast('{}' as text[])) as offenders
from batch_findings;

-- name: verify_audit_consistency(run_id)
-- For every batch, the counter in the books is the number of rows in the audit.
with batches as (
    select * from {{ ref('stage_migration_batches') }}
),

run_batches as (
    select * from batches
    where batches.run_id = $1
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

audited_batches as (
    select
        changes.batch_id,
        sum(cardinality(changes.row_keys)) as rows_audited,
        bool_or(
            cardinality(changes.row_keys) <> cardinality(changes.map_ids)
            or cardinality(changes.row_keys) <> cardinality(changes.tenants)
        ) as has_uneven_entries
    from changes
    where changes.run_id = $1
    group by changes.batch_id
),

compared_batches as (
    select
        coalesce(batches.batch_id, audited_batches.batch_id) as batch_id,
        coalesce(batches.rows_updated, 0) as rows_updated,
        coalesce(audited_batches.rows_audited, 0) as rows_audited,
        batches.batch_id is null
        or batches.rows_updated <> coalesce(audited_batches.rows_audited, 0)
        or coalesce(audited_batches.has_uneven_entries, false) as is_wrong
    from run_batches as batches
    full outer join audited_batches
        on batches.batch_id = audited_batches.batch_id
)

select
    'audit_consistency' as check_id,
    case when count(*) filter (where compared_batches.is_wrong) = 0 then 'pass' else 'fail' end
        as status,
    cast(coalesce(sum(compared_batches.rows_updated), 0) as text) || ' rows audited' as expected,
    cast(coalesce(sum(compared_batches.rows_audited), 0) as text) || ' rows audited' as actual,
    coalesce(
        array_agg(
            'batch ' || cast(compared_batches.batch_id as text) || ': '
            || cast(compared_batches.rows_updated as text) || ' rows counted, '
            || cast(compared_batches.rows_audited as text) || ' rows audited'
            order by compared_batches.batch_id
        ) filter (where compared_batches.is_wrong),
        cast('{}' as text[])
    ) as offenders
from compared_batches;
{%- for entry in managed_columns() %}
{%- set table_text = literal(entry.table) %}
{%- set column_text = literal(entry.column) %}
{%- set cell = entry.table ~ '.' ~ entry.column %}

-- name: {{ statement_name('verify_values', entry) }}(run_id, tenants, range_end)
-- Three checks from one pass over {{ entry.table }}.{{ entry.column }}, up to the frozen bound:
-- every value is canonical or was listed in the plan; no NULL and no blank where there was a value;
-- as many rows as there were.
with runs as (
    select * from {{ ref('migration_runs') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

planned_values as (
    select * from {{ ref('migration_value_map') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

run_baselines as (
    select * from baselines
    where
        baselines.run_id = $1
        and baselines.table_name = {{ table_text }}
        and baselines.column_name = {{ column_text }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

counted_values as {{ computed_once() }} (
    select
        {{ tenant_text('application', entry.tenant) }} as tenant,
        {{ binary_text('application.' ~ quoted(entry.column)) }} as raw_value,
        count(*) as row_count
    from {{ application_table(entry) }} as application
    where
        (
            cast($3 as text[]) is null
            or {{ key_in_range(entry.key, 'application', 'null', '$3') | indent(12) }}
        )
        and {{ in_scope(entry.tenant, 'application', '$2') | indent(8) }}
    group by
        {{ tenant_text('application', entry.tenant) }},
        {{ binary_text('application.' ~ quoted(entry.column)) }}
),

odd_values as (
    select
        counted_values.raw_value,
        sum(counted_values.row_count) as row_count,
        max(planned_values.match_type) as match_type,
        bool_or(planned_values.map_id is not null) as is_planned
    from counted_values
    left join planned_values
        on
            counted_values.raw_value = planned_values.value_before
            and planned_values.run_id = $1
            and planned_values.table_name = {{ table_text }}
            and planned_values.column_name = {{ column_text }}
    where
        counted_values.raw_value is not null
        and not exists (
            select 1 as found
            from vocabulary_keys
            where
                vocabulary_keys.vocabulary = '{{ entry.vocabulary }}'
                and vocabulary_keys.canonical_value = counted_values.raw_value
        )
    group by counted_values.raw_value
),

-- Where a planned value is still there: rows that were written since the plan, or that the run has
-- changed before, are somebody else's doing. The others are missed.
{%- set is_left %}
{{ binary_text('application.' ~ quoted(entry.column)) }} in (
    select odd_values.raw_value
    from odd_values
    where odd_values.is_planned
)
and (
    cast($3 as text[]) is null
    or {{ key_in_range(entry.key, 'application', 'null', '$3') | indent(4) }}
)
and {{ in_scope(entry.tenant, 'application', '$2') }}
{%- endset %}
{{ dirty_rows(entry, is_left | trim) }},

missed_values as (
    select
        dirty_rows.raw_value,
        count(*) as row_count,
        min(dirty_rows.row_key) as example
    from dirty_rows
    where dirty_rows.is_missed
    group by dirty_rows.raw_value
),

judged_values as (
    select
        odd_values.raw_value,
        odd_values.row_count,
        case
            when odd_values.match_type = 'blank' then 'pass'
            when odd_values.is_planned and missed_values.row_count is not null then 'fail'
            else 'warn'
        end as status,
        case
            when odd_values.is_planned and missed_values.row_count is not null
                then
                    cast(missed_values.row_count as text)
                    || ' of them should have been changed, for example row '
                    || missed_values.example
            when odd_values.is_planned or odd_values.match_type is null
                then 'written since the plan'
            else 'left as the plan listed it, ' || odd_values.match_type
        end as reason
    from odd_values
    left join missed_values
        on odd_values.raw_value = missed_values.raw_value
),

canonical_values as (
    select
        'canonical_values' as check_id,
        case
            when bool_or(judged_values.status = 'fail') then 'fail'
            when bool_or(judged_values.status = 'warn') then 'warn'
            else 'pass'
        end as status,
        {{ literal(cell ~ ': canonical, or listed in the plan') }} as expected,
        {{ literal(cell ~ ': ') }}
        || coalesce(
            cast(
                sum(judged_values.row_count) filter (where judged_values.status = 'fail') as text
            ),
            '0'
        ) || ' rows to be changed, '
        || coalesce(
            cast(
                sum(judged_values.row_count) filter (where judged_values.status = 'warn') as text
            ),
            '0'
        ) || ' rows left or written since' as actual,
        coalesce(
            array_agg(
                {{ literal(cell ~ ' \'') }}
                || judged_values.raw_value || ''': '
                || cast(judged_values.row_count as text) || ' rows, ' || judged_values.reason
                order by
                    judged_values.status asc,
                    judged_values.row_count desc,
                    judged_values.raw_value asc
            ) filter (where judged_values.status <> 'pass'),
            cast('{}' as text[])
        ) as offenders
    from judged_values
),

judged_counts as (
    select
        counted_values.*,
        {{ is_blank('counted_values.raw_value') | indent(8) }} as is_blank
    from counted_values
),

counted_tenants as (
    select
        counted_values.tenant,
        sum(counted_values.row_count) as row_total,
        coalesce(
            sum(counted_values.row_count) filter (where counted_values.raw_value is null), 0
        ) as null_total,
        coalesce(
            sum(counted_values.row_count) filter (where counted_values.is_blank), 0
        ) as blank_total
    from judged_counts as counted_values
    group by counted_values.tenant
),

compared_tenants as (
    select
        coalesce(counted_tenants.tenant, baselines.tenant, 'none') as tenant,
        coalesce(counted_tenants.row_total, 0) as rows_now,
        coalesce(counted_tenants.null_total, 0) as nulls_now,
        coalesce(counted_tenants.blank_total, 0) as blanks_now,
        coalesce(baselines.rows, 0) as rows_before,
        coalesce(baselines.nulls, 0) as nulls_before,
        coalesce(baselines.blanks, 0) as blanks_before
    from counted_tenants
    full outer join run_baselines as baselines
        on coalesce('=' || counted_tenants.tenant, '') = coalesce('=' || baselines.tenant, '')
),

judged_tenants as (
    select
        compared_tenants.*,
        compared_tenants.nulls_now > compared_tenants.nulls_before
        or compared_tenants.blanks_now > compared_tenants.blanks_before as is_emptier,
        -- rows that came to the tenant since may have come without a value
        compared_tenants.nulls_now + compared_tenants.blanks_now
        <= compared_tenants.nulls_before + compared_tenants.blanks_before
        + greatest(compared_tenants.rows_now - compared_tenants.rows_before, 0) as is_explained,
        compared_tenants.rows_now <> compared_tenants.rows_before as has_other_rows
    from compared_tenants
),

null_integrity as (
    select
        'null_integrity' as check_id,
        case
            when bool_or(judged_tenants.is_emptier and not judged_tenants.is_explained) then 'fail'
            when bool_or(judged_tenants.is_emptier) then 'warn'
            else 'pass'
        end as status,
        {{ literal(cell ~ ': at most ') }}
        || cast(sum(judged_tenants.nulls_before) as text)
        || ' NULL and ' || cast(sum(judged_tenants.blanks_before) as text) || ' blank'
            as expected,
        {{ literal(cell ~ ': ') }}
        || cast(sum(judged_tenants.nulls_now) as text) || ' NULL and '
        || cast(sum(judged_tenants.blanks_now) as text) || ' blank' as actual,
        coalesce(
            array_agg(
                {{ literal(cell ~ ', tenant ') }}
                || judged_tenants.tenant || ': '
                || cast(judged_tenants.nulls_now as text) || ' NULL and '
                || cast(judged_tenants.blanks_now as text) || ' blank, before '
                || cast(judged_tenants.nulls_before as text) || ' and '
                || cast(judged_tenants.blanks_before as text)
                order by judged_tenants.tenant
            ) filter (where judged_tenants.is_emptier),
            cast('{}' as text[])
        ) as offenders
    from judged_tenants
),

row_counts as (
    select
        'row_counts' as check_id,
        case when bool_or(judged_tenants.has_other_rows) then 'warn' else 'pass' end as status,
        {{ literal(cell ~ ': ') }}
        || cast(sum(judged_tenants.rows_before) as text)
        || ' rows' as expected,
        {{ literal(cell ~ ': ') }}
        || cast(sum(judged_tenants.rows_now) as text)
        || ' rows' as actual,
        coalesce(
            array_agg(
                {{ literal(cell ~ ', tenant ') }}
                || judged_tenants.tenant || ': '
                || cast(judged_tenants.rows_now as text) || ' rows, before '
                || cast(judged_tenants.rows_before as text)
                order by judged_tenants.tenant
            ) filter (where judged_tenants.has_other_rows),
            cast('{}' as text[])
        ) as offenders
    from judged_tenants
)

-- A table that was empty has no baseline: there is nothing to compare.
select * from canonical_values
union all
select * from null_integrity
where
    exists (
        select 1 as found
        from run_baselines
    )
union all
select * from row_counts
where
    exists (
        select 1 as found
        from run_baselines
    );

-- name: {{ statement_name('verify_changes', entry) }}(run_id)
-- What the run wrote last into a row is still there, or somebody has changed the row since; to NULL
-- or blank is a failure of its own. No transaction recorded a row twice.
with changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

planned_values as (
    select * from {{ ref('migration_value_map') }}
),

audited_rows as (
    select
        entries.row_key,
        planned_values.value_before,
        planned_values.value_after,
        count(*) over (
            partition by entries.row_key, changes.batch_id, changes.run_at
        ) as times_recorded,
        row_number() over (
            partition by entries.row_key
            order by changes.run_at desc, changes.batch_id desc
        ) as place
    from changes
    inner join batches
        on changes.batch_id = batches.batch_id
    cross join unnest(changes.row_keys, changes.map_ids) as entries (row_key, map_id)
    left join planned_values
        on
            entries.map_id = planned_values.map_id
            and planned_values.run_id = $1
            and planned_values.table_name = {{ table_text }}
            and planned_values.column_name = {{ column_text }}
    where
        changes.run_id = $1
        and batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

current_rows as (
    select
        {{ key_text(entry.key, 'application') }} as row_key,
        {{ binary_text('application.' ~ quoted(entry.column)) }} as value_now
    from {{ application_table(entry) }} as application
),

judged_rows as (
    select
        audited_rows.row_key,
        audited_rows.value_before,
        audited_rows.value_after,
        audited_rows.times_recorded,
        current_rows.value_now,
        case
            when audited_rows.value_after is null or audited_rows.times_recorded > 1 then 'fail'
            when audited_rows.value_after = current_rows.value_now then 'pass'
            else 'warn'
        end as status,
        current_rows.row_key is not null
        and (
            current_rows.value_now is null
            or {{ is_blank('current_rows.value_now') | indent(12) }}
        ) as is_emptied
    from audited_rows
    left join current_rows
        on audited_rows.row_key = current_rows.row_key
    where audited_rows.place = 1
),

shown_rows as (
    select
        judged_rows.*,
        row_number() over (order by judged_rows.status asc, judged_rows.row_key asc) as place
    from judged_rows
    where judged_rows.status <> 'pass'
)

select
    'audit_consistency' as check_id,
    case
        when count(*) filter (where judged_rows.status = 'fail') > 0 then 'fail'
        when count(*) filter (where judged_rows.status = 'warn') > 0 then 'warn'
        else 'pass'
    end as status,
    {{ literal(cell ~ ': ') }}
    || cast(count(*) as text)
    || ' rows hold what was written' as expected,
    {{ literal(cell ~ ': ') }}
    || cast(count(*) filter (where judged_rows.status = 'pass') as text)
    || ' rows hold what was written, '
    || cast(count(*) filter (where judged_rows.status <> 'pass') as text)
    || ' were changed or deleted since' as actual,
    coalesce(
        (
            select
                array_agg(
                    {{ literal(cell ~ ', row ') }}
                    || shown_rows.row_key || ': '''
                    || coalesce(shown_rows.value_before, '?') || ''' → '''
                    || coalesce(shown_rows.value_after, '?') || ''', now '
                    || coalesce('''' || shown_rows.value_now || '''', 'NULL or deleted')
                    || case when shown_rows.times_recorded > 1 then ', recorded twice' else '' end
                    order by shown_rows.place
                ) as shown
            from shown_rows
            where shown_rows.place <= 100
        ),
        cast('{}' as text[])
    ) as offenders
from judged_rows
union all
select
    'null_integrity' as check_id,
    case when bool_or(judged_rows.is_emptied) then 'fail' else 'pass' end as status,
    {{ literal(cell ~ ': no changed row without a value') }} as expected,
    {{ literal(cell ~ ': ') }}
    || cast(count(*) filter (where judged_rows.is_emptied) as text)
    || ' changed rows without a value' as actual,
    coalesce(
        array_agg(
            {{ literal(cell ~ ', row ') }}
            || judged_rows.row_key || ': was ''' || judged_rows.value_after
            || ''', is NULL or blank now'
            order by judged_rows.row_key
        ) filter (where judged_rows.is_emptied),
        cast('{}' as text[])
    ) as offenders
from judged_rows;
{%- endfor %}
