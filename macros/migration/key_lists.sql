{#-
    The keys of rows as arrays, one per column of the key, and how many there are: how a list goes
    to the runner, which does not look into it. keys come in the order of the rows.

    key_lists({'a': 'integer', 'b': 'text'}, 'rows') →
        cardinality(array_agg(cast(rows.a as integer))) as key_total,
        array_agg(cast(rows.a as integer)) as key_1,
        array_agg(cast(rows.b as text)) as key_2
-#}
{%- macro key_lists(key, relation) -%}
{%- for column, type in key.items() -%}
{%- set keys = 'array_agg(cast(' ~ relation ~ '.' ~ trueup.quoted(column) ~ ' as ' ~ type ~ '))' -%}
{%- if loop.first -%}
cardinality({{ keys }}) as key_total,
{% endif -%}
{{ keys }} as key_{{ loop.index }}{{ ',\n' if not loop.last }}
{%- endfor %}
{%- endmacro -%}
