{#-
    Is the key of a row in the range (start, end]? Both are arrays of texts as key_texts() makes
    them; a start of NULL is the beginning of the table. The order is that of the table's own index
    and collation.
    key_in_range({'id': 'bigint'}, 'rows', '$1', '$2') →
        (
            cast($1 as text[]) is null
            or (rows.id) > (cast((cast($1 as text[]))[1] as bigint))
        )
        and (rows.id) <= (cast((cast($2 as text[]))[1] as bigint))
-#}
{%- macro key_in_range(key, relation, range_start, range_end) -%}
    {%- set columns = trueup.key_columns(key, relation) -%}
(
    cast({{ range_start }} as text[]) is null
    or ({{ columns }}) > ({{ trueup.key_values(key, range_start) }})
)
and ({{ columns }}) <= ({{ trueup.key_values(key, range_end) }})
{%- endmacro -%}
