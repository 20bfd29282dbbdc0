-- Named statements that take an import back.
{%- if membership_settings().enabled %}
{%- set place = {'table': membership_settings().tables.member.table,
    'column': membership_settings().tables.member.id} %}

{{ row_image_undo(place, membership_targets() | reverse | list) }}
{%- endif %}
