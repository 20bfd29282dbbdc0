{#-
    The beginning of the names of a column's triggers and constraints, as an expression. PostgreSQL
    fires triggers in the order of their names, so zz comes after those of the application.
    guard_name("'stage'") → ('zz_trueup_' || case ... end); a long name is replaced by its digest
-#}
{%- macro guard_name(column_name) -%}
(
    'zz_trueup_' || case
        when octet_length({{ column_name }}) > 30
            then left(md5({{ column_name }}), 12)
        else {{ column_name }}
    end
)
{%- endmacro -%}
