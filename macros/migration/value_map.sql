{#-
    The CTE `value_map`: the planned changes that a statement gets as arrays; no comma at the end.
    arrays: column → parameter, of value_before, value_after and map_id.

    value_map({'value_before': '$4', 'map_id': '$5'}) →
        value_map as (
            select
                mappings.value_before,
                mappings.map_id
            from
                unnest(cast($4 as text[]), cast($5 as smallint[]))
                    as mappings (value_before, map_id)
        )
-#}
{%- macro value_map(arrays) -%}
value_map as (
    select
        {%- for column in arrays %}
        mappings.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from
        unnest(
            {%- for column, array in arrays.items() -%}
            cast({{ array }} as {{ 'smallint' if column == 'map_id' else 'text' }}[])
            {{- ', ' if not loop.last }}
            {%- endfor -%}
        )
            as mappings ({{ arrays.keys() | join(', ') }})
)
{%- endmacro -%}
