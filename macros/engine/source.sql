{#-
    dbt's source without the name of the database, as ref.
    source('app', 'investments') → "public"."investments"
-#}
{%- macro source() -%}
    {{- return(builtins.source(*varargs).include(database=false)) -}}
{%- endmacro -%}
