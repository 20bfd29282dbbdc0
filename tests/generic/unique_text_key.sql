{#-
    No two texts of a column fold to one text key: 'Series A' and 'series-a' are one spelling and
    can only be decided once. Shows the key and the texts that share it.
-#}
{% test unique_text_key(model, column_name) -%}
with checked_rows as (
    select * from {{ model }}
),

keyed_rows as (
    select
        checked_rows.{{ column_name }} as text_found,
        {{ trueup.text_key('checked_rows.' ~ column_name) | indent(8) }} as text_key
    from checked_rows
)

select
    keyed_rows.text_key,
    count(*) as row_count,
    string_agg(keyed_rows.text_found, ' | ' order by keyed_rows.text_found) as texts
from keyed_rows
group by keyed_rows.text_key
having count(*) > 1
{%- endtest %}
