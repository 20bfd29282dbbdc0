{#-
    The vars managed_columns and, with sample: true, sample_columns, checked: a list of entries,
    each with table, column, key {name: type}, tenant (or none), tenant_label, vocabulary,
    updated_at (or none), mart and mart_key (or none: the model that shows the column, and its key)
    and model, the name of the staging model.
    managed_columns('fct_deal_stages') gives only the entries of that mart.
-#}
{%- macro managed_columns(mart=none) -%}
    {%- set entries = trueup.managed_entries('columns') -%}
    {%- if mart is not none -%}
        {%- set entries = entries | selectattr('mart', 'equalto', mart) | list -%}
    {%- endif -%}
    {{- return(entries) -}}
{%- endmacro -%}
