{#-
    The var app_state with its defaults: {enabled, user_type, user_expression, versions, most_bytes,
    most_levels}. With `sample: true` it is the var sample_app_state if app_state is not enabled.
    app_state_settings().user_type → text

    user_type        of the column user_app_state.user_id: text or uuid
    user_expression  SQL by which a policy knows the application's user, as a text
    versions         versions of documents that may be moved; [] are all
    most_bytes, most_levels: of a document, as text, and of its nesting
-#}
{%- macro app_state_settings() -%}
    {%- set known = {
        'enabled': false,
        'user_type': 'text',
        'user_expression': "current_setting('app.user_id', true)",
        'versions': [],
        'most_bytes': 33554432,
        'most_levels': 100,
    } -%}
    {%- set name, known = trueup.system_settings('app_state', known) -%}
    {%- if known.user_type not in ['text', 'uuid'] -%}
        {{- trueup.raise_wrong_input(
            'var ' ~ name, 'user_type', known.user_type, ['text', 'uuid']
        ) -}}
    {%- endif -%}
    {{- return(known) -}}
{%- endmacro -%}
