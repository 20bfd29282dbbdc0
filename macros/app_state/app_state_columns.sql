{#-
    The columns of an entity's table with their types, in order.
    app_state_columns('orgs') → {'id': 'uuid', 'user_id': 'text', ..., 'extra': 'jsonb'}
-#}
{%- macro app_state_columns(entity) -%}
    {%- set known = trueup.app_state_entities()[entity] -%}
    {%- set columns = {
        'id': 'uuid', 'user_id': 'text', 'source_id': 'text', 'source_position': 'bigint',
    } -%}
    {%- for column in known.parents -%}
        {%- do columns.update({column: 'uuid'}) -%}
    {%- endfor -%}
    {%- for column, each in known.columns.items() -%}
        {%- do columns.update({column: each.type}) -%}
    {%- endfor -%}
    {%- do columns.update({'extra': 'jsonb'}) -%}
    {{- return(columns) -}}
{%- endmacro -%}
