{#-
    Runs that have not ended and want the same rows as a new plan: one of its columns, and one of
    its tenants. As the CTE `rival_runs`; no comma at the end.

    rival_runs('$1', '$2', '$3') → rival_runs as (select ... from ... where ...)
        $1, $2: tables and columns of the plan, side by side; $3: its tenants, NULL for all
        run_id, short_id, status_text, places (its columns that the plan has, too), rows_updated;
        is_held: a runner works on it; is_replaceable: it has changed nothing, so the new plan can
        take its place
-#}
{%- macro rival_runs(table_names, column_names, tenants) -%}
rival_runs as (
    select
        runs.run_id,
        left(cast(runs.run_id as text), 8) as short_id,
        case when runs.status = 'running' then 'interrupted' else runs.status end as status_text,
        controls.places,
        batches.rows_updated,
        controls.is_held,
        batches.rows_updated = 0 and not controls.is_held as is_replaceable
    from {{ ref('migration_runs') }} as runs
    cross join
        lateral (
            select
                string_agg(
                    control.table_name || '.' || control.column_name, ', '
                    order by control.table_name, control.column_name
                ) as places,
                coalesce(bool_or(control.lease_until >= now()), false) as is_held
            from {{ ref('stage_migration_control') }} as control
            inner join
                unnest(cast({{ table_names }} as text[]), cast({{ column_names }} as text[]))
                    as planned (table_name, column_name)
                on
                    control.table_name = planned.table_name
                    and control.column_name = planned.column_name
            where control.run_id = runs.run_id
        ) as controls
    cross join
        lateral (
            select coalesce(sum(done.rows_updated), 0) as rows_updated
            from {{ ref('stage_migration_batches') }} as done
            where done.run_id = runs.run_id
        ) as batches
    where
        runs.status in ('planned', 'running', 'paused', 'interrupted', 'failed')
        and controls.places is not null
        and (
            cast({{ tenants }} as text[]) is null
            or coalesce(jsonb_typeof(runs.options -> 'tenants'), 'null') <> 'array'
            or exists (
                select 1 as found
                from
                    jsonb_array_elements_text(
                        case
                            when jsonb_typeof(runs.options -> 'tenants') = 'array'
                                then runs.options -> 'tenants'
                            else '[]'
                        end
                    ) as theirs (tenant)
                where array_position(cast({{ tenants }} as text[]), theirs.tenant) is not null
            )
        )
)
{%- endmacro -%}
