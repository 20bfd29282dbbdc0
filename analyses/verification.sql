-- Named statements of `trueup verify`: is the data as planned, and did nothing else change?
-- Each check is a macro of macros/verification; `dbt test --select tag:verification` runs it, too.
-- All are read in one snapshot and return rows (code, status, expected, found, sample,
-- rows); sample is a list of jsonb objects, failures first.
{%- set parameters =
    'run_id, tenants, table_names,\n--     is_quiesced, epsilon, sample_size, seed, most' %}

-- name: verification__about(run_id)
-- When a verification reads, where, and which run it is about.
select
    now() as taken_at,
    jsonb_build_object(
        'version', split_part(current_setting('server_version'), ' ', 1),
        'database', current_database(),
        'role', current_user,
        'in_recovery', pg_is_in_recovery()
    ) as server_facts,
    jsonb_build_object(
        'run_id', runs.run_id,
        'short_id', left(cast(runs.run_id as text), 8),
        'kind', runs.kind,
        'restores', cast(runs.record #>> '{rules,restores}' as boolean),
        'status', runs.status,
        'state_text', states.state_text,
        'taken_back_by', states.taken_back_by,
        'operator', runs.operator,
        'environment', runs.environment,
        {%- for name in ['planned_at', 'started_at', 'finished_at'] %}
        '{{ name }}', to_char(
            runs.{{ name }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
        ),
        {%- endfor %}
        'plan_sha256', runs.plan_sha256,
        'sql_sha256', runs.sql_sha256,
        'audit_digest', runs.audit_digest,
        'git_commit', runs.git_commit
    ) as run_facts
from {{ ref('migration_runs') }} as runs
inner join {{ ref('migration_run_states') }} as states
    on runs.run_id = states.run_id
where runs.run_id = $1;

-- name: verification__places(run_id)
-- All columns of the run in the ledger, even if they are no longer managed. A column without its
-- row in stage_migration_control cannot be verified, which must be reported.
with control as (
    select * from {{ ref('stage_migration_control') }}
),

baselines as (
    select * from {{ ref('migration_baselines') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

known_columns as (
    select
        control.run_id,
        control.table_name,
        control.column_name,
        true as is_steered
    from control
    union all
    select
        baselines.run_id,
        baselines.table_name,
        baselines.column_name,
        false as is_steered
    from baselines
    union all
    select
        batches.run_id,
        batches.table_name,
        batches.column_name,
        false as is_steered
    from batches
    union all
    select
        value_map.run_id,
        value_map.table_name,
        value_map.column_name,
        false as is_steered
    from value_map
)

select
    known_columns.table_name,
    known_columns.column_name,
    bool_or(known_columns.is_steered) as is_known
from known_columns
where known_columns.run_id = $1
group by
    known_columns.table_name,
    known_columns.column_name
order by
    known_columns.table_name,
    known_columns.column_name;

-- name: verification__batch_tracking({{ parameters }})
-- Every batch of the run is completed, nothing failed, nothing is quarantined.
with {{ verification_request() }},

{{ check_batch_tracking() }};

-- name: verification__digests({{ parameters }})
-- The audit of the run is the one whose digest was recorded at its end, and the counts of every
-- batch agree with it.
with {{ verification_request() }},

{{ check_digests() }};

-- name: verification__weights({{ parameters }})
-- The weights of every document sum to 1.
with {{ verification_request() }},

{{ check_weights() }};
{%- for entry in managed_columns() %}

-- name: {{ statement_name('check_values', entry) }}({{ parameters }})
-- From one pass over the table: values are canonical, none became NULL or blank, the number of rows
-- is the same; and the figures of each tenant.
with {{ verification_request() }},

{{ check_values(entry) }};

-- name: {{ statement_name('check_changes', entry) }}({{ parameters }})
-- Every row still has the value that was last written to it, or was edited since.
with {{ verification_request() }},

{{ check_changes(entry) }};

-- name: {{ statement_name('check_sample', entry) }}({{ parameters }})
-- Changed rows for a person to review, each with the alias that decided.
with {{ verification_request() }},

{{ check_sample(entry) }};

-- name: {{ statement_name('check_others', entry) }}({{ parameters }})
-- No other column of a changed row has changed.
with {{ verification_request() }},

{{ check_others(entry) }};
{%- if entry.mart %}

-- name: {{ statement_name('check_models', entry) }}({{ parameters }})
-- The mart agrees with the values of the table.
with {{ verification_request() }},

{{ check_models(entry) }};
{%- endif %}
{%- endfor %}

-- name: verification__conclude(run_id, parts, columns, of_all, tenant_label)
-- One finding per check of what its statements said of the run and of each of its columns: the
-- worst status of its parts, one sentence, what to do, and the rows that were found, worst first.
-- parts, columns: jsonb, the rows of the statements above and those of report__columns. of_all: all
-- tenants were read, so what the columns count is what was looked at.
with runs as (
    select * from {{ ref('migration_runs') }}
),

targets as (
    select
        runs.run_id,
        left(cast(runs.run_id as text), 8) as short_id,
        runs.record #> '{rules,checks}' as judged_codes,
        not cast(runs.record #>> '{rules,restores}' as boolean) as can_roll_back,
        runs.status not in ('completed', 'cancelled') as is_unfinished,
        case
            when runs.status not in ('completed', 'cancelled')
                then 'trueup resume ' || left(cast(runs.run_id as text), 8)
            when cast(runs.record #>> '{rules,restores}' as boolean)
                then 'trueup report ' || left(cast(runs.run_id as text), 8)
            else 'trueup plan'
        end as next_command,
        cast($4 as boolean) as of_all,
        cast($5 as text) as tenant_label
    from runs
    where runs.run_id = $1
),

words (place, code, name, met, unmet) as (
    values
    {%- for code, name, met, unmet in verification_words() %}
    (
        {{ loop.index }},
        {{ literal(code) }},
        {{ literal(name) }},
        {{ literal(met) }},
        {{ literal(unmet) }}
    ){{ ',' if not loop.last }}
    {%- endfor %}
),

-- the worst decides; one part that is ok makes more of them than information
weights (status, weight) as (
    values
    ('info', 0),
    ('ok', 1),
    ('warn', 2),
    ('fail', 3),
    ('error', 4)
),

parts as (
    select
        listed.place,
        listed.part ->> 'code' as code,
        listed.part ->> 'expected' as expected,
        listed.part ->> 'found' as found,
        listed.part -> 'sample' as sample,
        weights.weight,
        cast(listed.part ->> 'rows' as bigint) as row_count,
        cast(listed.part ->> 'duration_ms' as double precision) as duration_ms,
        -- faults come before notes: if a note is listed, all faults are
        case
            when listed.part -> 'sample' @> '[{"status": "info"}]'
                then
                    jsonb_array_length(
                        jsonb_path_query_array(
                            listed.part -> 'sample', '$[*] ? (@.status != "info")'
                        )
                    )
            else cast(listed.part ->> 'rows' as bigint)
        end as fault_count
    from jsonb_array_elements(cast($2 as jsonb)) with ordinality as listed (part, place)
    inner join weights on listed.part ->> 'status' = weights.status
),

run_columns as (
    select
        listed.entry ->> 'table_name' as table_name,
        cast(listed.entry ->> 'row_total' as bigint) as row_total,
        cast(listed.entry ->> 'batches' as bigint) as batches,
        cast(listed.entry ->> 'rows_updated' as bigint) as rows_updated
    from jsonb_array_elements(cast($3 as jsonb)) as listed (entry)
),

-- columns of one table have the same rows
run_tables as (
    select
        run_columns.table_name,
        max(run_columns.row_total) as row_total
    from run_columns
    group by run_columns.table_name
),

table_totals as (
    select
        count(*) as table_count,
        coalesce(sum(run_tables.row_total), 0) as row_total
    from run_tables
),

totals as (
    select
        count(*) as column_count,
        coalesce(sum(run_columns.row_total), 0) as cells,
        coalesce(sum(run_columns.batches), 0) as batches,
        coalesce(sum(run_columns.rows_updated), 0) as rows_updated
    from run_columns
),

offenders as (
    select
        parts.code,
        listed.offender,
        listed.offender ->> 'status' as status,
        listed.offender ->> 'message' as message,
        listed.offender ->> 'tenant' as tenant,
        concat_ws('.', listed.offender ->> 'table_name', listed.offender ->> 'column_name')
            as column_name,
        row_number() over (
            partition by parts.code
            order by
                weights.weight desc,
                -- rows that can be looked at come first
                listed.offender ->> 'row_key' is null asc,
                parts.place asc,
                listed.place asc
        ) as place
    from parts
    cross join
        lateral jsonb_array_elements(parts.sample) with ordinality as listed (offender, place)
    left join weights on listed.offender ->> 'status' = weights.status
),

gathered as (
    select
        offenders.code,
        jsonb_agg(offenders.offender order by offenders.place) as sample,
        count(*) as listed,
        min(offenders.place) filter (where offenders.status <> 'info') as first_fault,
        min(offenders.place) filter (where offenders.status = 'info') as first_note,
        count(distinct offenders.tenant) as tenant_count,
        count(distinct offenders.column_name) as column_count,
        bool_or(offenders.tenant is null) as has_no_tenant
    from offenders
    group by offenders.code
),

grouped as (
    select
        parts.code,
        max(parts.weight) as weight,
        string_agg(parts.expected, e'\n' order by parts.place) as expected,
        string_agg(parts.found, e'\n' order by parts.place) as found,
        coalesce(sum(parts.row_count), 0) as row_count,
        coalesce(sum(parts.fault_count), 0) as fault_count,
        cast(round(cast(sum(parts.duration_ms) as numeric), 1) as double precision)
            as duration_ms
    from parts
    group by parts.code
),

-- a check of which nothing was said has nothing to check
checks as (
    select
        words.*,
        grouped.expected,
        grouped.found,
        gathered.tenant_count,
        gathered.column_count,
        gathered.has_no_tenant,
        faults.message as fault,
        notes.message as note,
        coalesce(weights.status, 'info') as status,
        coalesce(grouped.row_count, 0) as row_count,
        coalesce(grouped.duration_ms, 0) as duration_ms,
        coalesce(gathered.sample, '[]') as sample,
        coalesce(gathered.listed, 0) as listed,
        coalesce(grouped.row_count, 0) - coalesce(grouped.fault_count, 0) as note_count,
        coalesce(grouped.fault_count, 0) - 1 as more_faults,
        replace(coalesce(grouped.found, ''), e'\n', '; ') as found_line
    from words
    cross join targets
    left join grouped on words.code = grouped.code
    left join weights on grouped.weight = weights.weight
    left join gathered on words.code = gathered.code
    left join offenders as faults
        on words.code = faults.code and gathered.first_fault = faults.place
    left join offenders as notes
        on words.code = notes.code and gathered.first_note = notes.place
    where targets.judged_codes ? words.code
),

-- what was read, as texts; of some tenants nothing is said that counts them all
scopes as (
    select
        {{ counted('totals.column_count', 'column') | indent(8) }} as columns_read,
        {{ counted('totals.column_count', 'column') | indent(8) }}
        || ', ' || {{ grouped_digits('totals.cells') }} || ' cells' as cells_read,
        {{ counted('table_totals.table_count', 'table') | indent(8) }}
        || ', ' || {{ counted('table_totals.row_total', 'row') | indent(8) }} as rows_read,
        {{ grouped_digits('totals.rows_updated') }} || ' rows changed' as changed,
        {{ counted('totals.rows_updated', 'changed row') | indent(8) }}
            as changed_rows,
        {{ grouped_digits('totals.batches') }} as batches,
        {{ counted('totals.column_count', 'column') | indent(8) }}
        || ' of the ' || targets.tenant_label || ' asked for' as part_read
    from totals
    cross join table_totals
    cross join targets
),

-- what people read is no fault
read_checks as (
    select
        checks.code,
        checks.has_no_tenant,
        checks.tenant_count,
        checks.row_count - checks.listed as hidden,
        {{ counted('checks.listed', 'changed row') | indent(8) }} as rows_text,
        {{ grouped_digits('checks.listed') }} as rows_number,
        {{ counted('checks.tenant_count', none, 'targets.tenant_label') | indent(8) }}
            as tenants_text,
        {{ counted('checks.column_count', 'column') | indent(8) }} as columns_text,
        {{ grouped_digits('checks.row_count - checks.listed') }} as hidden_text
    from checks
    cross join targets
    where
        checks.status in ('ok', 'info')
        and checks.code in ('sample_inspection', 'per_fund_breakdown')
        and checks.listed > 0
),

to_read as (
    select
        read_checks.code,
        case
            when read_checks.code = 'per_fund_breakdown'
                then
                    concat_ws(
                        ' and ',
                        case when read_checks.tenant_count > 0 then read_checks.tenants_text end,
                        case
                            when read_checks.has_no_tenant
                                then 'rows without a ' || targets.tenant_label
                        end
                    )
                    || ', in ' || read_checks.columns_text
                    || case
                        when read_checks.hidden > 0
                            then '; ' || read_checks.hidden_text || ' rows were not read'
                        else ''
                    end
            when targets.of_all
                then read_checks.rows_number || ' of ' || scopes.changed_rows || ' to read'
            else read_checks.rows_text || ' to read'
        end as sentence
    from read_checks
    cross join targets
    cross join scopes
),

-- offenders that were not listed are taken for faults
worded as (
    select
        checks.*,
        case
            when to_read.code is not null
                then to_read.sentence
            when checks.status = 'ok'
                then
                    format(
                        checks.met,
                        scopes.columns_read,
                        case when targets.of_all then scopes.cells_read else scopes.part_read end,
                        case when targets.of_all then scopes.rows_read else scopes.part_read end,
                        scopes.batches,
                        case when targets.of_all then scopes.changed else scopes.part_read end,
                        checks.found_line
                    )
                    || coalesce('; but ' || checks.note, '')
                    || case
                        when checks.note_count > 1
                            then '; and ' || cast(checks.note_count - 1 as text) || ' more'
                        else ''
                    end
            when checks.status = 'info'
                then coalesce(checks.note, checks.fault, 'Nothing to check')
            when checks.fault is null
                then checks.unmet || ': ' || checks.found_line
            else
                case when checks.status = 'error' then 'Could not be read' else checks.unmet end
                || ': ' || checks.fault
                || case
                    when checks.more_faults > 0
                        then
                            '; and ' || {{ grouped_digits('checks.more_faults') }}
                            || ' more'
                    else ''
                end
        end as message
    from checks
    cross join targets
    cross join scopes
    left join to_read on checks.code = to_read.code
),

reasons as (
    select
        coalesce(bool_or(offenders.offender ->> 'reason' = 'written_since'), false) as is_since,
        coalesce(bool_or(offenders.offender ->> 'reason' = 'restored'), false) as is_restored,
        coalesce(
            bool_or(
                offenders.offender ->> 'reason' not in ('missed', 'written_since', 'restored')
            ),
            false
        ) as is_undecided
    from offenders
    where
        offenders.code = 'canonical_values'
        and offenders.status <> 'info'
),

remedies as (
    select listed.*
    from targets
    cross join reasons
    cross join
        lateral (
            values
            {%- for code, status, condition, sentence, commands in verification_remedies() %}
            (
                {{ loop.index }},
                {{ literal(code) if code else 'cast(null as text)' }},
                {{ literal(status) if status else 'cast(null as text)' }},
                {{ condition or 'true' }},
                {{ long_literal(sentence) | indent(8) if sentence else 'cast(null as text)' }},
                {{ long_literal(commands | join('\n')) | indent(8)
                    if commands else 'cast(null as text)' }}
            ){{ ',' if not loop.last }}
            {%- endfor %}
        ) as listed (place, code, status, applies, sentence, commands)
    where listed.applies
),

-- the audit's lines about the first row that is named
log_rows as (
    select
        checks.code,
        coalesce(
            'where table_name = ' || quote_literal(named.offender ->> 'table_name')
            || ' and row_id = ' || quote_literal(named.offender ->> 'row_key'),
            'order by run_at desc limit 100'
        ) as log_condition
    from checks
    left join offenders as named
        on
            checks.code = named.code
            and named.place = (
                select min(offenders.place)
                from offenders
                where
                    offenders.code = checks.code
                    and offenders.offender ->> 'row_key' is not null
                    and offenders.offender ->> 'table_name' is not null
            )
),

advice as (
    select
        worded.code,
        string_agg(remedies.sentence, ' ' order by remedies.place)
        || coalesce(
            e'\n' || string_agg(
                format(
                    remedies.commands,
                    targets.short_id,
                    targets.run_id,
                    targets.next_command,
                    log_rows.log_condition,
                    {{ literal(ref('stage_migration_failures') | string) }},
                    {{ literal(ref('stage_normalization_log') | string) }},
                    {{ literal(ref('stage_normalization_changes') | string) }}
                ),
                e'\n' order by remedies.place
            ),
            ''
        ) as remedy
    from worded
    cross join targets
    inner join remedies
        on
            worded.code = coalesce(remedies.code, worded.code)
            and worded.status = any(
                case
                    when remedies.status is null then array['warn', 'fail']
                    else array[remedies.status]
                end
            )
    left join log_rows on worded.code = log_rows.code
    group by worded.code
),

final as (
    select
        'verification' as area,
        worded.code,
        replace(worded.name, 'Tenant', initcap(targets.tenant_label)) as name,
        '' as subject,
        worded.status,
        worded.message,
        worded.expected,
        worded.found,
        advice.remedy,
        worded.row_count as rows,
        worded.sample,
        worded.duration_ms
    from worded
    cross join targets
    left join advice on worded.code = advice.code
    order by worded.place
)

select * from final;
