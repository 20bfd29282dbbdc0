-- Named statements that take a run about documents back.
{%- if app_state_settings().enabled %}
{%- set place = {'table': 'user_app_state', 'column': 'state'} %}

{{ row_image_undo(place, app_state_targets() | reverse | list) }}
{%- endif %}
