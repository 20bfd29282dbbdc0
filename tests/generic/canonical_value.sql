{#-
    Every value that is not NULL is one of the vocabulary's canonical values, exactly
    (case-sensitive). Without the argument vocabulary, the model's column of that name says which
    vocabulary it is. Shows each value that is not canonical, and how many rows carry it. The number
    of failures is the number of rows.
-#}
{% test canonical_value(model, column_name, vocabulary=none) -%}
{{- config(fail_calc='coalesce(sum(row_count), 0)') -}}
{%- if execute and vocabulary not in [none] + trueup.vocabularies().keys() | list -%}
    {{- trueup.raise_wrong_input(
        'test canonical_value', 'vocabulary', vocabulary, trueup.vocabularies().keys() | list
    ) -}}
{%- endif -%}
with checked_rows as (
    select * from {{ model }}
),

canonical_values as (
    {%- for each in trueup.vocabularies().values() if vocabulary in [none, each.name] %}
    select
        '{{ each.name }}' as vocabulary,
        canonical_value
    from {{ ref(each.canonical_seed) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

select
    checked_rows.{{ column_name }} as value_found,
    count(*) as row_count
from checked_rows
left join canonical_values
    on
        checked_rows.{{ column_name }} = canonical_values.canonical_value
        {%- if vocabulary is none %}
        and checked_rows.vocabulary = canonical_values.vocabulary
        {%- endif %}
where
    checked_rows.{{ column_name }} is not null
    and canonical_values.canonical_value is null
group by checked_rows.{{ column_name }}
{%- endtest %}
