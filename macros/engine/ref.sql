{#-
    dbt's ref without the name of the database: compiled SQL is the same for every database, and
    reads as people write it. Models of other projects keep dbt's own.
    ref('dim_stages') → trueup.dim_stages
-#}
{%- macro ref() -%}
    {{- return(builtins.ref(*varargs, **kwargs).include(database=false)) -}}
{%- endmacro -%}
