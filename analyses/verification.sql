-- Named statements of `trueup verify`: is the data as planned, and did nothing else change?
-- Each check is a macro of macros/verification; `dbt test --select tag:verification` runs it, too.
-- All are read in one snapshot and return rows (check_id, status, expected, actual, offenders,
-- offender_count); offenders are jsonb objects, failures first.
{%- set parameters =
    'run_id, tenants, table_names,\n--     is_quiesced, epsilon, sample_size, seed, most' %}

-- name: verify__places(run_id)
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

-- name: verify__batch_tracking({{ parameters }})
-- Every batch of the run is completed, nothing failed, nothing is quarantined.
with {{ verification_request() }},

{{ check_batch_tracking() }};

-- name: verify__digests({{ parameters }})
-- The audit of the run is the one whose digest was recorded at its end, and the counts of every
-- batch agree with it.
with {{ verification_request() }},

{{ check_digests() }};

-- name: verify__weights({{ parameters }})
-- The weights of every document sum to 1.
with {{ verification_request() }},

{{ check_weights() }};
{%- for entry in managed_columns() %}

-- name: {{ statement_name('verify_values', entry) }}({{ parameters }})
-- From one pass over the table: values are canonical, none became NULL or blank, the number of rows
-- is the same; and the figures of each tenant.
with {{ verification_request() }},

{{ check_values(entry) }};

-- name: {{ statement_name('verify_changes', entry) }}({{ parameters }})
-- Every row still has the value that was last written to it, or was edited since.
with {{ verification_request() }},

{{ check_changes(entry) }};

-- name: {{ statement_name('verify_sample', entry) }}({{ parameters }})
-- Changed rows for a person to review, each with the alias that decided.
with {{ verification_request() }},

{{ check_sample(entry) }};

-- name: {{ statement_name('verify_others', entry) }}({{ parameters }})
-- No other column of a changed row has changed.
with {{ verification_request() }},

{{ check_others(entry) }};
{%- if entry.mart %}

-- name: {{ statement_name('verify_models', entry) }}({{ parameters }})
-- The mart agrees with the values of the table.
with {{ verification_request() }},

{{ check_models(entry) }};
{%- endif %}
{%- endfor %}
