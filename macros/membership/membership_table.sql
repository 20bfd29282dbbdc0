{#-
    A table of the application that a migration of members fills or reads.
    membership_table('member') → public."Member"
-#}
{%- macro membership_table(entity) -%}
    {{- trueup.target_table({'table': trueup.membership_settings().tables[entity].table}) -}}
{%- endmacro -%}
