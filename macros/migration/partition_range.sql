{#-
    If the table of `application` is partitioned: is the key in the range of the batch? Otherwise
    always true. As plain comparisons, which the planner can exclude partitions by.
    partition_range({'id': 'bigint'}, numbers) →
        (not cast($8 as boolean) or $9 is null or (application.id) > ...)
        and (not cast($8 as boolean) or (application.id) <= ...)
-#}
{%- macro partition_range(key, numbers) -%}
{%- set columns = trueup.key_columns(key, 'application') -%}
(
    not cast({{ numbers.is_partitioned }} as boolean)
    or cast({{ numbers.range_start }} as text[]) is null
    or ({{ columns }}) > ({{ trueup.key_values(key, numbers.range_start) }})
)
and (
    not cast({{ numbers.is_partitioned }} as boolean)
    or ({{ columns }}) <= ({{ trueup.key_values(key, numbers.range_end) }})
)
{%- endmacro -%}
