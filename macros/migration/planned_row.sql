{#-
    Does a batch change a row of `application`: is the row in the batch, and has it the value of
    `value_map`? If there is an index of rows that need work, its values are passed in; with them
    the planner can prove that the index applies.

    planned_row({'column': 'stage', 'key': {'id': 'bigint'}, 'tenant': none}, numbers) →
        in_batch(...) and (... stage <> all($11)) and stage = value_map.value_before

    numbers: parameter_numbers() of in_batch()'s parameters and canonical_values.
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
