{#-
    The statement that makes migration-report.json of the decisions of an import; the counts and the
    records of each entity, the errors, and the id mapping.
    membership_report('$1', '$2') → with ... select ... as report;
-#}
{%- macro membership_report(run_id, started_at) -%}
with records as (
    select
        decisions.entity,
        decisions.source_row,
        decisions.action,
        decisions.source_id,
        decisions.row_key,
        decisions.reason,
        jsonb_build_object(
            '_sourceRow', decisions.source_row,
            '_waId', decisions.source_id,
            '_targetId', decisions.row_key,
            '_action', case decisions.action
                when 'insert' then 'create'
                when 'update' then 'update'
                else 'skip'
            end,
            '_errors', cast('[]' as jsonb)
        ) || decisions.record as record
    from membership_decisions as decisions
    where decisions.entity in ('member', 'event', 'registration')
),

entities (place, entity) as (
    values
    (1, 'member'),
    (2, 'event'),
    (3, 'registration')
),

counts as (
    select
        entities.entity,
        count(records.entity) as parsed,
        count(records.entity) filter (where records.action = 'insert') as created,
        count(records.entity) filter (where records.action = 'update') as updated,
        count(records.entity) filter (where records.action = 'noop') as skipped,
        count(records.entity) filter (where records.action = 'refuse') as errors,
        coalesce(
            jsonb_agg(records.record order by records.source_row) filter (
                where records.action <> 'refuse'
            ),
            '[]'
        ) as listed,
        coalesce(
            jsonb_agg(
                jsonb_build_object('waId', records.source_id, 'targetId', records.row_key)
                order by records.source_row
            ) filter (where records.action <> 'refuse'),
            '[]'
        ) as mapped
    from entities
    left join records on entities.entity = records.entity
    group by entities.entity
),

sections as (
    select
        jsonb_object_agg(
            counts.entity || 's',
            jsonb_build_object(
                'file', counts.entity || 's.csv',
                'totalRows', counts.parsed,
                'parsed', counts.parsed,
                'created', counts.created,
                'updated', counts.updated,
                'skipped', counts.skipped,
                'errors', counts.errors,
                'records', counts.listed
            )
        ) as section_values,
        jsonb_object_agg(counts.entity || 's', counts.mapped) filter (
            where counts.entity <> 'registration'
        ) as mapping_values,
        jsonb_build_object(
            'totalRecords', sum(counts.parsed),
            'created', sum(counts.created),
            'updated', sum(counts.updated),
            'skipped', sum(counts.skipped),
            'errors', sum(counts.errors),
            'duration_ms', round(
                1000 * extract(epoch from clock_timestamp() - cast({{ started_at }} as timestamptz))
            )
        ) as sums
    from counts
),

refusals as (
    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'entity', records.entity,
                    'sourceRow', records.source_row,
                    'waId', records.source_id,
                    'reason', records.reason
                )
                order by
                    records.entity asc,
                    records.source_row asc
            ),
            '[]'
        ) as listed
    from records
    where records.action = 'refuse'
)

select
    cast(
        jsonb_build_object(
            'runId', cast({{ run_id }} as text),
            'startedAt', cast({{ started_at }} as timestamptz),
            'completedAt', clock_timestamp(),
            'dryRun', false,
            'summary', sections.sums,
            'errors', refusals.listed,
            'idMapping', sections.mapping_values
        ) || sections.section_values as text
    ) as report
from sections
cross join refusals;
{%- endmacro -%}
