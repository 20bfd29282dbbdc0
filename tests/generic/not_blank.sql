{#-
    No NULL, and nothing that only looks empty: white space, invisible characters.
-#}
{% test not_blank(model, column_name) -%}
select *
from {{ model }}
where
    {{ column_name }} is null
    or {{ trueup.is_blank("cast(" ~ column_name ~ " as text)") | indent(4) }}
{%- endtest %}
