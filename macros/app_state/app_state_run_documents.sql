{#-
    The newest documents of the users of a run, $1, as CTEs; no comma at the end.
    app_state_run_documents() → run_users as (...), source_rows as (...), ... documents as (...)
-#}
{%- macro app_state_run_documents() -%}
run_users as (
    select baselines.tenant as user_id
    from {{ ref('migration_baselines') }} as baselines
    where baselines.run_id = $1
),

source_rows as (
    select source_table.*
    from {{ trueup.target_table({'table': 'user_app_state'}) }} as source_table
    inner join run_users on cast(source_table.user_id as text) = run_users.user_id
),

{{ trueup.app_state_documents() }}
{%- endmacro -%}
