{#-
    Does a batch change a row of `application`: is its key in the list, is it still in scope, and
    does it still have a value of the batch's `value_map`? Expects what listed_rows() writes.

    planned_row({'column': 'stage', 'key': {'id': 'bigint'}, 'tenant': none}, numbers) →
        application.id = any((cast($5 as bigint[]))[chunks.first_place:...])
        and cast(application.stage as text) collate "C" = value_map.value_before

    Of a partitioned table only the partitions of the batch's range are looked into and locked. For
    other tables the range is no condition: the planner would expect fewer rows than there are.

    numbers: parameter_numbers() of first_place, last_place, is_partitioned, range_start, range_end,
    key_1, ...; also tenants, by_tenant and fund_id if there is a tenant.
-#}
{%- macro planned_row(entry, numbers) -%}
{%- if entry.key | length == 1 -%}
{{ trueup.key_columns(entry.key, 'application') }} = any(
    (cast({{ numbers.key_1 }} as {{ entry.key.values() | first }}[]))[
        chunks.first_place:least(chunks.first_place + 31, cast({{ numbers.last_place }} as integer))
    ]
)
{%- else -%}
({{ trueup.key_columns(entry.key, 'application') }})
= ({{ trueup.key_columns(trueup.numbered_key(entry.key), 'listed') }})
{%- endif %}

and {{ trueup.partition_range(entry.key, numbers) }}
{%- if entry.tenant %}
and {{ trueup.in_scope(entry.tenant, 'application', numbers.tenants) }}
and {{ trueup.of_tenant(entry.tenant, 'application', numbers.by_tenant, numbers.fund_id) }}
{%- endif %}
and {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} = value_map.value_before
{%- endmacro -%}
