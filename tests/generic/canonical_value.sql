{#-
    Every value that is not NULL is one of the vocabulary's canonical values, exactly
    (case-sensitive). Shows each value that is not, and how many rows carry it. The number of
    failures is the number of rows.
-#}
{% test canonical_value(model, column_name, vocabulary) -%}
{{- config(fail_calc='coalesce(sum(row_count), 0)') -}}
{%- if vocabulary not in trueup.vocabularies() -%}
    {{- trueup.raise_wrong_input(
        'test canonical_value', 'vocabulary', vocabulary, trueup.vocabularies().keys() | list
    ) -}}
{%- endif -%}
with checked_rows as (
    select * from {{ model }}
),

canonical_values as (
    select * from {{ ref(trueup.vocabularies()[vocabulary].canonical_seed) }}
)

select
    checked_rows.{{ column_name }} as value_found,
    count(*) as row_count
from checked_rows
left join canonical_values
    on checked_rows.{{ column_name }} = canonical_values.canonical_value
where
    checked_rows.{{ column_name }} is not null
    and canonical_values.canonical_value is null
group by checked_rows.{{ column_name }}
{%- endtest %}
