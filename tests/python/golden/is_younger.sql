coalesce(
    age(deals.xmin) between 0 and (select planned_runs.age_of_plan from planned_runs),
    false
)
