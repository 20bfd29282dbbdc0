{#-
    Is a user one of a batch? A condition.
    app_state_in_batch('baselines.tenant', 'batches') →
        baselines.tenant collate "C" <= batches.range_end[1] and (...)
-#}
{%- macro app_state_in_batch(user, batches) -%}
{{ user }} collate "C" <= {{ batches }}.range_end[1]
and (
    {{ batches }}.range_start[1] is null
    or {{ user }} collate "C" > {{ batches }}.range_start[1]
)
{%- endmacro -%}
