{#-
    Was the row of a relation written after the plan of the run? It was if the plan's snapshot could
    not see the transaction that wrote it. Expects a CTE planned_runs (age_of_plan), as in
    dirty_rows(). Never true for a plan without the number of a transaction, nor for an age
    below zero: such a row was written more than two billion transactions ago.
    is_younger('rows') →
        coalesce(
            age(rows.xmin) between 0 and (select planned_runs.age_of_plan from planned_runs), false
        )
-#}
{%- macro is_younger(relation) -%}
coalesce(
    age({{ relation }}.xmin) between 0 and (select planned_runs.age_of_plan from planned_runs),
    false
)
{%- endmacro -%}
