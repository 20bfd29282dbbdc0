{#-
    The first field of a record that is to be a time and is none, as a reason; NULL if there is
    none. An expression.
    membership_bad_dates('event', 'cells.record') → case when ... then 'bad_date: startTime ...' end
-#}
{%- macro membership_bad_dates(entity, record) -%}
case
    {%- for field, kind in trueup.membership_fields(entity).items() if kind == 'time' %}
    when
        {{ record }} ->> '{{ field }}' is not null
        and {{ trueup.iso_time('(' ~ record ~ " ->> '" ~ field ~ "')") | indent(8) }} is null
        then
            'bad_date: {{ field }} is "' || ({{ record }} ->> '{{ field }}')
            || '", wanted is a date such as 2024-02-29'
    {%- endfor %}
end
{%- endmacro -%}
