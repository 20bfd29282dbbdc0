{#-
    The vars managed_documents and, with sample: true, sample_documents, checked as
    managed_columns() are: jsonb columns that hold {name: weight}.
-#}
{%- macro managed_documents() -%}
    {{- return(trueup.managed_entries('documents')) -}}
{%- endmacro -%}
