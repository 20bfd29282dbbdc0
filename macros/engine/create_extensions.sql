{#-
    Runs before every dbt run: fuzzystrmatch holds levenshtein, which the suggestions for unknown
    values need. It is a trusted extension: the owner of the database may create it, nobody else has
    to do anything once it is there.
-#}
{%- macro create_extensions() -%}
    create extension if not exists fuzzystrmatch
{%- endmacro -%}
