{#-
    Why a document, or a part of it, is not moved: {code: sentence}. The rest is moved anyway.
    app_state_reasons()['no_user'] → the row has no user
-#}
{%- macro app_state_reasons() -%}
    {%- set settings = trueup.app_state_settings() -%}
    {{- return({
        'no_user': 'the row has no user_id',
        'unknown_version': 'its version is none of ' ~ (settings.versions | join(', ')),
        'no_object': 'its state is no JSON object',
        'too_large': 'it has more than ' ~ settings.most_bytes ~ ' bytes as text',
        'too_deep': 'it is nested deeper than ' ~ settings.most_levels ~ ' levels',
        'no_array': 'this key of the document is no array; it stays in documents_rest.rest',
        'item_no_object': 'the item is no JSON object; it stays in documents_rest.refused',
        'duplicate_id':
            'an item before it has the same id; it stays in documents_rest.refused',
        'edited': 'the row was changed since a run wrote it, so it stays as it is',
    }) -}}
{%- endmacro -%}
