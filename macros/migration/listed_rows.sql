{#-
    The rows of a piece of a batch, as an item of FROM beside `application`; planned_row() is the
    condition that goes with it. A key of one column is looked up in chunks of 32, because the
    planner assumes ten values for an array that it does not know: with one array of thousands it
    would compare every row with every value of the map. For other keys see listed_keys().

    listed_rows({'key': {'id': 'bigint'}}, numbers) →
        generate_series(cast($3 as integer), cast($4 as integer), 32) as chunks (first_place)
-#}
{%- macro listed_rows(entry, numbers) -%}
{%- if entry.key | length == 1 -%}
generate_series(
    cast({{ numbers.first_place }} as integer), cast({{ numbers.last_place }} as integer), 32
) as chunks (first_place)
{%- else -%}
{{ trueup.listed_keys(entry.key, numbers) }}
{%- endif -%}
{%- endmacro -%}
