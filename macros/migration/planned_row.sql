{#-
    Is a row of `application` one that a batch changes: in the batch, and with the value of
    `value_map`? The values of an index of what is not canonical are handed in where there is one;
    the planner proves by them that the index serves.

    planned_row({'column': 'stage', 'key': {'id': 'bigint'}, 'tenant': none}, numbers) →
        in_batch(...) and (... stage <> all($11)) and stage = value_map.value_before

    numbers: what parameter_numbers() made of in_batch()'s parameters and canonical_values.
-#}
{%- macro planned_row(entry, numbers) -%}
{%- set value = trueup.binary_text('application.' ~ trueup.quoted(entry.column)) -%}
{{ trueup.in_batch(entry, numbers) }}
and (
    cast({{ numbers.canonical_values }} as text[]) is null
    or {{ value }} <> all(cast({{ numbers.canonical_values }} as text[]))
)
and {{ value }} = value_map.value_before
{%- endmacro -%}
