{#-
    The keys of a list from one place to another, as an item of FROM. A batch gets its list as one
    array per column of the key; a piece of the batch is a slice of it.

    numbers: parameter_numbers() of first_place, last_place, key_1, key_2, ...; and of key_map_ids
    if with_maps.

    listed_keys({'a': 'integer', 'b': 'text'}, numbers, with_maps=true) →
        unnest(
            (cast($5 as integer[]))[cast($3 as integer):cast($4 as integer)],
            ...
        ) as listed (key_1, key_2, map_id)
-#}
{%- macro listed_keys(key, numbers, with_maps=false) -%}
{%- set columns = trueup.numbered_key(key) -%}
{%- set arrays = columns.items() | list -%}
{%- if with_maps -%}
    {%- set arrays = arrays + [('key_map_ids', 'smallint')] -%}
{%- endif -%}
unnest(
{%- for name, type in arrays %}
    (cast({{ numbers[name] }} as {{ type }}[]))[
        cast({{ numbers.first_place }} as integer):cast({{ numbers.last_place }} as integer)
    ]{{ ',' if not loop.last }}
{%- endfor %}
) as listed ({{ columns.keys() | join(', ') }}{{ ', map_id' if with_maps }})
{%- endmacro -%}
