{#-
    The tables that an import writes, parents first, as row_image_undo() wants them, with the entity
    of each.
    membership_targets()[0] → {'entity': 'tier', 'table': 'MembershipTier', 'key': {'id': 'uuid'},
        'columns': ['code', 'name', 'sortOrder'],
        'children': {'Member': {'membershipTierId': 'id'}}}
-#}
{%- macro membership_targets() -%}
    {%- set tables = trueup.membership_settings().tables -%}
    {%- set parents = {
        'tier': {'member': 'tier'},
        'member': {'registration': 'memberId'},
        'event': {'registration': 'eventId'},
    } -%}
    {%- set targets = [] -%}
    {%- for entity in ['tier', 'member', 'event', 'mapping', 'registration'] -%}
        {%- set names = tables[entity] -%}
        {%- set key = {names.id: 'uuid'} if 'id' in names
            else {names.entityType: 'text', names.waId: 'text'} -%}
        {%- set columns = [] -%}
        {%- for field, column in names.items()
            if column and field != 'table' and column not in key -%}
            {%- do columns.append(column) -%}
        {%- endfor -%}
        {%- set children = {} -%}
        {%- for child, field in parents.get(entity, {}).items() -%}
            {%- do children.update({tables[child].table: {tables[child][field]: names.id}}) -%}
        {%- endfor -%}
        {%- do targets.append({
            'entity': entity, 'table': names.table, 'key': key, 'columns': columns,
            'children': children,
        }) -%}
    {%- endfor -%}
    {{- return(targets) -}}
{%- endmacro -%}
