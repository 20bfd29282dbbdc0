{#-
    The tables that documents become, parents first, as row_image_undo() wants them: each entity's,
    and documents_rest, which has what is in no other table.
    app_state_targets() → [{'table': 'orgs', 'key': {'id': 'uuid'}, 'columns': [...],
        'children': {'personas': {'org_id': 'id'}}}, ..., {'table': 'documents_rest', ...}]
-#}
{%- macro app_state_targets() -%}
    {%- set entities = trueup.app_state_entities() -%}
    {%- set targets = [] -%}
    {%- for name in entities -%}
        {%- set children = {} -%}
        {%- for child, known in entities.items() -%}
            {%- for column, parent in known.parents.items() if parent == name -%}
                {%- do children.update({child: {column: 'id'}}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- do targets.append({
            'table': name,
            'key': {'id': 'uuid'},
            'types': trueup.app_state_columns(name),
            'children': children,
        }) -%}
    {%- endfor -%}
    {%- do targets.append({
        'table': 'documents_rest',
        'key': {'user_id': 'text'},
        'types': {
            'user_id': 'text', 'row_id': 'text', 'version': 'text', 'updated_at': 'timestamptz',
            'document_md5': 'text', 'arrays': 'jsonb', 'refused': 'jsonb', 'rest': 'jsonb',
        },
        'children': {},
    }) -%}
    {%- for target in targets -%}
        {%- set columns = target.types.keys() | list -%}
        {%- do target.update({'columns': columns | reject('in', target.key) | list}) -%}
    {%- endfor -%}
    {{- return(targets) -}}
{%- endmacro -%}
