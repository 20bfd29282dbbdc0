{% macro get_incremental_merge_changed_sql(arg_dict) %}
    {{- return(trueup.get_incremental_merge_changed_sql(arg_dict)) -}}
{% endmacro %}
