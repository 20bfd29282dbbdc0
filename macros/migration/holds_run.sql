{#-
    Does the runner with this token hold the run? A condition; a runner that has lost the run can no
    longer change its records.
    holds_run(ref('stage_migration_control'), '$1', '$2') →
        exists (select 1 ... where control.run_id = $1 and control.lease_token = $2)
-#}
{%- macro holds_run(control, run_id, lease_token) -%}
exists (
    select 1 as found
    from {{ control }} as control
    where
        control.run_id = {{ run_id }}
        and control.lease_token = {{ lease_token }}
)
{%- endmacro -%}
