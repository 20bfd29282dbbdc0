{#-
    The users of a run, $1, whose rows were changed since, as CTEs; no comma at the end.
    app_state_touched_users() → run_images as (...), touched_users(user_id) as (...)
-#}
{%- macro app_state_touched_users() -%}
{{ trueup.run_images(trueup.app_state_targets()) }},

touched_users as (
    select distinct run_images.unit[1] as user_id
    from run_images
    where not run_images.is_as_written
)
{%- endmacro -%}
