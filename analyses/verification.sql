-- Named statements of `trueup verify`: is the data what it should be, and did nothing else move?
-- Each check is a macro of macros/verification; `dbt test --select tag:verification` runs it, too.
-- All are read in one snapshot and answer with rows (check_id, status, expected, actual, offenders,
-- offender_count); offenders are jsonb objects, those that fail first.
{%- set parameters =
    'run_id, tenants, table_names,\n--     is_quiesced, epsilon, sample_size, seed, most' %}

-- name: verify__places(run_id)
-- The columns of the run, whatever is managed by now.
select
    control.table_name,
    control.column_name
from {{ ref('stage_migration_control') }} as control
where control.run_id = $1
order by
    control.table_name,
    control.column_name;

-- name: verify__batch_tracking({{ parameters }})
-- Every batch of the run is completed, nothing failed, nothing is quarantined.
with {{ verification_request() }},

{{ check_batch_tracking() }};

-- name: verify__digests({{ parameters }})
-- The audit of the run is the one whose digest was recorded at its end, and every batch counted it.
with {{ verification_request() }},

{{ check_digests() }};

-- name: verify__weights({{ parameters }})
-- The weights of every document sum to 1.
with {{ verification_request() }},

{{ check_weights() }};
{%- for entry in managed_columns() %}

-- name: {{ statement_name('verify_values', entry) }}({{ parameters }})
-- From one pass over the table: values are canonical, none is NULL or blank that was not, there are
-- as many rows as there were; and what each tenant has.
with {{ verification_request() }},

{{ check_values(entry) }};

-- name: {{ statement_name('verify_changes', entry) }}({{ parameters }})
-- What was written last into a row is still there, or somebody has changed the row since.
with {{ verification_request() }},

{{ check_changes(entry) }};

-- name: {{ statement_name('verify_sample', entry) }}({{ parameters }})
-- Changed rows for a person to read, each with the alias that decided.
with {{ verification_request() }},

{{ check_sample(entry) }};

-- name: {{ statement_name('verify_others', entry) }}({{ parameters }})
-- No other column of a changed row moved.
with {{ verification_request() }},

{{ check_others(entry) }};
{%- if entry.mart %}

-- name: {{ statement_name('verify_models', entry) }}({{ parameters }})
-- The mart shows the values of the table.
with {{ verification_request() }},

{{ check_models(entry) }};
{%- endif %}
{%- endfor %}
