{#-
    What a record of a bundle says of a row, by its kind: text, time, id (of another table of the
    application), tier or status (a code, for which the row has an id). Fields without a column in
    this database are left out.
    membership_fields('event') → {'title': 'text', 'startTime': 'time', ...}
-#}
{%- macro membership_fields(entity) -%}
    {%- set kinds = {
        'member': {
            'email': 'text', 'firstName': 'text', 'lastName': 'text', 'phone': 'text',
            'joinedAt': 'time', 'tier': 'tier', 'status': 'status',
        },
        'event': {'title': 'text', 'startTime': 'time', 'endTime': 'time', 'location': 'text'},
        'registration': {
            'eventId': 'id', 'memberId': 'id', 'status': 'text', 'registeredAt': 'time',
        },
    } -%}
    {%- set found = {} -%}
    {%- for field, kind in kinds[entity].items()
        if trueup.membership_settings().tables[entity][field] -%}
        {%- do found.update({field: kind}) -%}
    {%- endfor -%}
    {{- return(found) -}}
{%- endmacro -%}
