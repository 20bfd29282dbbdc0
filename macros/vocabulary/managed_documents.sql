{#-
    The var managed_documents, checked as managed_columns() are: jsonb columns that hold {name: weight}.
-#}
{%- macro managed_documents() -%}
    {{- return(_managed('managed_documents')) -}}
{%- endmacro -%}
