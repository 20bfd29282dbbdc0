{#-
    One row per combination of the columns, and none of them NULL but those listed as nullable.
    Shows the combinations that are not.
-#}
{% test grain(model, columns, nullable=[]) -%}
select
    {{ columns | join(',\n    ') }},
    count(*) as row_count
from {{ model }}
group by
    {{ columns | join(',\n    ') }}
having
    count(*) > 1
    {%- for column in columns if column not in nullable %}
    or {{ column }} is null
    {%- endfor %}
{%- endtest %}
