{#-
    Was the row of a relation written since the plan of the run? By the transaction that wrote it:
    one that the plan's snapshot could not see. Expects a CTE planned_runs (age_of_plan), as
    dirty_rows() has it. Never true for a plan without the number of a transaction, nor for an age
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
