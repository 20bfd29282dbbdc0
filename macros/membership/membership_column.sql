{#-
    A column of such a table.
    membership_column('member', 'firstName', 'application') → application."firstName"
-#}
{%- macro membership_column(entity, field, relation) -%}
    {{- relation }}.{{ trueup.quoted(trueup.membership_settings().tables[entity][field]) -}}
{%- endmacro -%}
