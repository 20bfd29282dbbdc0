{#-
    What became of the rows that a run, $1, has written, as a CTE; no comma at the end.
    run_images(targets) → run_images(unit, table_name, row_key, batch_id, action,
        is_as_written) as (...)
-#}
{%- macro run_images(targets) -%}
run_images as {{ trueup.computed_once() }} (
    {%- for target in targets %}
    {%- set key = trueup.quoted(target.key.keys() | first) %}
    select
        images.unit,
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
        on
            images.row_key
            = {{ trueup.key_text(target.key, 'application') | indent(12) }}
    where
        images.run_id = $1
        and {{ trueup.of_target(target, 'images') | indent(8) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
