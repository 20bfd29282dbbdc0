{#-
    The names that columns of the files may have, if the bundle's configuration does not say
    otherwise: {entity: {field: [names]}}, in lower case. Fields that a row cannot do without come
    with `needed`.
    membership_headers().event.title → ['title', 'event title', 'event name', 'name']
-#}
{%- macro membership_headers() -%}
    {{- return({
        'member': {
            'id': ['id', 'user id', 'member id', 'contact id'],
            'email': ['email', 'e-mail', 'email address'],
            'firstName': ['firstname', 'first name', 'first_name'],
            'lastName': ['lastname', 'last name', 'last_name'],
            'phone': ['phone', 'phone number'],
            'joinedAt': ['joinedat', 'member since', 'joined', 'joined_at'],
            'membershipLevel': ['membershiplevel', 'membership level', 'level'],
            'status': ['status', 'membership status'],
        },
        'event': {
            'id': ['id', 'event id'],
            'title': ['title', 'event title', 'event name', 'name'],
            'startTime': ['starttime', 'start date', 'start', 'start_time'],
            'endTime': ['endtime', 'end date', 'end', 'end_time'],
            'location': ['location', 'event location'],
        },
        'registration': {
            'id': ['id', 'registration id'],
            'eventId': ['eventid', 'event id', 'event_id'],
            'memberId': ['memberid', 'user id', 'member id', 'member_id'],
            'status': ['status', 'registration status'],
            'registeredAt': ['registeredat', 'registration date', 'registered', 'registered_at'],
        },
    }) -}}
{%- endmacro -%}
