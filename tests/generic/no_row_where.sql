{#-
    No row fulfils the condition: a finding is a row, so a model of findings is tested by what must
    not be in it. Shows the rows that do.
-#}
{% test no_row_where(model, condition) -%}
select *
from {{ model }}
where
    {{ condition | trim | indent(4) }}
{%- endtest %}
