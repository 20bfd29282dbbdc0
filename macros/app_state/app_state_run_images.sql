{#-
    What became of the rows that a run, $1, has written, as a CTE; no comma at the end.
    app_state_run_images() → run_images(user_id, table_name, row_key, batch_id, action,
        is_as_written) as (...)
-#}
{%- macro app_state_run_images() -%}
{%- set targets = trueup.app_state_targets() -%}
run_images as {{ trueup.computed_once() }} (
    {%- for target in targets %}
    {%- set key = target.key.keys() | first %}
    select
        images.unit[1] as user_id,
        images.table_name,
        images.row_key,
        images.batch_id,
        images.action,
        case
            when application.{{ key }} is null then images.action = 'delete'
            else coalesce(
                {{ trueup.row_hash('application') | indent(16) }} = images.after_hash, false
            )
        end as is_as_written
    from {{ ref('migration_audit') }} as images
    left join {{ trueup.target_table(target) }} as application
        on images.row_key = cast(application.{{ key }} as text)
    where
        images.run_id = $1
        and {{ trueup.of_target(target, 'images') | indent(8) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
