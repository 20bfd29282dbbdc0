{#-
    The CTE `quarantined`: the keys of the rows of a column that the database refused to change in
    run $1; no comma at the end.
    quarantined({'table': 'deals', 'column': 'stage'}) →
        quarantined as materialized (
            select quarantine.row_key
            from migration_quarantine as quarantine
            where quarantine.run_id = $1 and ...
        )
-#}
{%- macro quarantined(entry) -%}
quarantined as {{ trueup.computed_once() }} (
    select quarantine.row_key
    from {{ ref('migration_quarantine') }} as quarantine
    where
        quarantine.run_id = $1
        and quarantine.table_name = {{ trueup.literal(entry.table) }}
        and quarantine.column_name = {{ trueup.literal(entry.column) }}
)
{%- endmacro -%}
