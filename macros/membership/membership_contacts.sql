{#-
    Who is told of what, as VALUES, the most urgent issue first.
    membership_contacts() → values (1, 'database_corruption', 'Database corruption', ...), ...
-#}
{%- macro membership_contacts() -%}
{%- set contacts = trueup.membership_settings().contacts -%}
values
{%- for issue in ['database_corruption', 'data_loss', 'verification_failure'] %}
    (
        {{ loop.index }},
        '{{ issue }}',
        {{ trueup.literal(contacts[issue].name) }},
        {{ trueup.literal(contacts[issue].contact) }},
        {{ trueup.literal(contacts[issue].priority) }}
    ){{ ',' if not loop.last }}
{%- endfor %}
{%- endmacro -%}
