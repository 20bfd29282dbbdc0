{#-
    What is in a document of user_app_state: its arrays, and the columns of the tables that they
    become. The only place that knows it: tables, models, statements and the way back are made of
    this list.

    app_state_entities() → {'orgs': {'key': 'orgs', 'parents': {}, 'columns': {...}}, ...}

    Each entity is named as its table; parents come before their children.
    key       of the array in the document
    parents   {column: the entity that it refers to}; parent_keys {column: key}
    columns   {column: {type, key}}: what the document's key becomes
    own_keys  {key: the camelCase key} of all that becomes a column. All other keys of an item stay
              together in the column `extra`.

    A document may spell each key in snake_case, too. A user's own columns are added here.
-#}
{%- macro app_state_entities() -%}
    {%- set entities = {
        'orgs': {
            'columns': {
                'name': 'text', 'industry': 'text', 'city': 'text', 'is_sensitive': 'boolean',
                'created_at': 'timestamptz',
            },
        },
        'personas': {
            'parents': {'org_id': 'orgs'},
            'columns': {
                'name': 'text', 'type': 'text', 'status': 'text', 'business_stage': 'text',
                'main_offer': 'text', 'avg_ticket_size': 'numeric', 'created_at': 'timestamptz',
                'updated_at': 'timestamptz',
            },
        },
        'accounts': {
            'parents': {'persona_id': 'personas'},
            'columns': {
                'platform': 'text', 'account_id': 'text', 'account_name': 'text',
                'followers': 'numeric', 'is_verified': 'boolean', 'status': 'text',
                'created_at': 'timestamptz',
            },
        },
        'contents': {
            'parents': {'persona_id': 'personas', 'account_id': 'accounts'},
            'columns': {
                'platform': 'text', 'title': 'text', 'topic_cluster': 'text', 'format': 'text',
                'epoch_id': 'text', 'status': 'text', 'scheduled_at': 'timestamptz',
                'published_at': 'timestamptz', 'publish_url': 'text', 'week_number': 'numeric',
                'created_at': 'timestamptz', 'updated_at': 'timestamptz',
            },
        },
        'leads': {
            'parents': {'persona_id': 'personas', 'source_content_id': 'contents'},
            'columns': {
                'name': 'text', 'contact': 'text', 'platform': 'text', 'source': 'text',
                'status': 'text', 'lead_level': 'text', 'need_tag': 'text', 'next_action': 'text',
                'created_at': 'timestamptz', 'updated_at': 'timestamptz',
            },
        },
        'references': {
            'parents': {'persona_id': 'personas'},
            'columns': {
                'type': 'text', 'title': 'text', 'url': 'text', 'platform': 'text',
                'source': 'text', 'is_inspiration': 'boolean', 'collected_at': 'timestamptz',
            },
        },
        'inbox_items': {
            'parents': {'persona_id': 'personas'},
            'columns': {
                'type': 'text', 'title': 'text', 'duration': 'numeric', 'audio_url': 'text',
                'status': 'text', 'created_at': 'timestamptz',
            },
        },
    } -%}
    {%- for name, entity in entities.items() -%}
        {%- set columns = {} -%}
        {%- for column, type in entity.columns.items() -%}
            {%- do columns.update({column: {'type': type, 'key': trueup._camel_case(column)}}) -%}
        {%- endfor -%}
        {%- set parent_keys = {} -%}
        {%- for column in entity.get('parents', {}) -%}
            {%- do parent_keys.update({column: trueup._camel_case(column)}) -%}
        {%- endfor -%}
        {%- set own_keys = {'id': 'id', '_trueup': '_trueup'} -%}
        {%- for column in (parent_keys.keys() | list) + (columns.keys() | list) -%}
            {%- set key = trueup._camel_case(column) -%}
            {%- do own_keys.update({key: key, column: key}) -%}
        {%- endfor -%}
        {%- do entity.update({
            'key': trueup._camel_case(name),
            'columns': columns,
            'parents': entity.get('parents', {}),
            'parent_keys': parent_keys,
            'own_keys': own_keys,
        }) -%}
    {%- endfor -%}
    {{- return(entities) -}}
{%- endmacro -%}

{%- macro _camel_case(name) -%}
    {%- for part in name.split('_') -%}
        {{- part if loop.first else part | capitalize -}}
    {%- endfor -%}
{%- endmacro -%}
