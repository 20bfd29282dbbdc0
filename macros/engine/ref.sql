{#-
    dbt's ref without the name of the database: compiled SQL is the same for every database, and
    looks as if written by hand. Models of other projects use dbt's own ref.
    ref('dim_stages') → trueup.dim_stages
-#}
{%- macro ref() -%}
    {{- return(builtins.ref(*varargs, **kwargs).include(database=false)) -}}
{%- endmacro -%}
