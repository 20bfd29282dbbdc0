{#-
    The scope of a verification, as the CTE `request`, first in every statement of `trueup verify`;
    no comma at the end. One row: of the run, run_id, status, options, findings, plan_sha256,
    audit_digest, finished_at, taken_back_by; of its kind, judges_values and restores; tenants,
    those that are verified (NULL: all; a NULL in it: the rows of no tenant); table_names (NULL:
    all); is_quiesced; epsilon; sample_size; seed; most, offenders that are shown (NULL: all).

    verification_request()      in a named statement: the run and the options are parameters
    verification_request(true)  in a dbt test: of the runs that have come to their end the first in
                                migration_run_states, and the options' defaults. No row if there is
                                none yet: a statement without a request answers with no row.
-#}
{%- macro verification_request(is_test=false) -%}
{%- set defaults = var('verification') -%}
request as {{ trueup.computed_once() }} (
    with runs as (
        select * from {{ ref('migration_runs') }}
    )
    {%- if is_test %},

    baselines as (
        select * from {{ ref('migration_baselines') }}
    )
    {%- endif %}

    select
        runs.run_id,
        runs.record #> '{rules,checks}' ? 'canonical_values' as judges_values,
        cast(runs.record #>> '{rules,restores}' as boolean) as restores,
        runs.status,
        runs.options,
        runs.findings,
        runs.plan_sha256,
        runs.audit_digest,
        runs.finished_at,
        states.taken_back_by,
        coalesce(
            {{ 'cast(null as text[])' if is_test else 'cast($2 as text[])' }},
            case
                when jsonb_typeof(runs.options -> 'tenants') = 'array'
                    then array(
                        select tenants.tenant
                        from jsonb_array_elements_text(runs.options -> 'tenants')
                            as tenants (tenant)
                    )
            end
        ) as tenants,
        {{ 'cast(null as text[])' if is_test else 'cast($3 as text[])' }} as table_names,
        {{ 'false' if is_test else 'cast($4 as boolean)' }} as is_quiesced,
        {{ 'cast(' ~ var('weight_sum_epsilon') ~ ' as numeric)' if is_test
            else 'cast($5 as numeric)' }} as epsilon,
        {{ defaults.sample_size if is_test else 'cast($6 as integer)' }} as sample_size,
        {{ 'cast(1 as bigint)' if is_test else 'cast($7 as bigint)' }} as seed,
        {{ 'cast(' ~ defaults.most_offenders ~ ' as bigint)' if is_test
            else 'cast($8 as bigint)' }} as most
    from runs
    inner join {{ ref('migration_run_states') }} as states
        on runs.run_id = states.run_id
    where
        {%- if is_test %}
        runs.run_id = (
            select newest.run_id
            from runs as newest
            inner join {{ ref('migration_run_states') }} as newest_states
                on newest.run_id = newest_states.run_id
            where
                {{ trueup.picked_by('newest', 'verify') }}
                and newest.status in ('completed', 'completed_with_failures')
                and exists (
                    select 1 as found
                    from baselines
                    where baselines.run_id = newest.run_id
                )
            order by newest_states.place
            limit 1
        )
        {%- else %}
        runs.run_id = $1
        {%- endif %}
)
{%- endmacro -%}
