{#-
    The var managed_documents, checked as managed_columns() are: jsonb columns that hold {name:
    weight}.
-#}
{%- macro managed_documents() -%}
    {{- return(trueup.managed_entries('managed_documents')) -}}
{%- endmacro -%}
