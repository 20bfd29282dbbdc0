{#-
    Runs before every dbt run: fuzzystrmatch holds levenshtein, which the suggestions for unknown
    values need. It goes into the schema public, where every search path finds it. It is a trusted
    extension: the owner of the database may create it, and other roles need no right to use it.
-#}
{%- macro create_extensions() -%}
    create extension if not exists fuzzystrmatch schema public
{%- endmacro -%}
