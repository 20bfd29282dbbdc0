{#-
    The var membership with its defaults: {enabled, vocabulary, tier_coverage, tier_coverage_floor,
    contacts, tables}. With `sample: true` it is the var sample_membership if membership is not
    enabled.
    membership_settings().tables.member.email → email

    vocabulary           the tiers, an entry of the var vocabularies
    tier_coverage        the share of members with a tier below which a verification warns;
                         tier_coverage_floor: below which it fails
    contacts             {issue: {name, contact, priority}} of verification_failure,
                         database_corruption and data_loss
    tables               the application's names: {entity: {table, field: column}}. A field whose
                         column is null does not exist in your database.
-#}
{%- macro membership_settings() -%}
    {%- set known = {
        'enabled': false,
        'vocabulary': 'membership_tier',
        'tier_coverage': 0.95,
        'tier_coverage_floor': 0.5,
        'contacts': {},
        'tables': {},
    } -%}
    {%- set tables = {
        'member': {
            'table': 'Member', 'id': 'id', 'email': 'email', 'firstName': 'firstName',
            'lastName': 'lastName', 'phone': 'phone', 'joinedAt': 'joinedAt',
            'tier': 'membershipTierId', 'status': 'membershipStatusId',
        },
        'event': {
            'table': 'Event', 'id': 'id', 'title': 'title', 'startTime': 'startTime',
            'endTime': 'endTime', 'location': 'location',
        },
        'registration': {
            'table': 'EventRegistration', 'id': 'id', 'eventId': 'eventId', 'memberId': 'memberId',
            'status': 'status', 'registeredAt': 'registeredAt',
        },
        'tier': {
            'table': 'MembershipTier', 'id': 'id', 'code': 'code', 'name': 'name',
            'sortOrder': 'sortOrder',
        },
        'status': {'table': 'MembershipStatus', 'id': 'id', 'code': 'code', 'label': 'label'},
        'policy': {'table': 'Policy', 'key': 'key', 'value': 'value'},
        'mapping': {
            'table': 'WaIdMapping', 'entityType': 'entityType', 'waId': 'waId',
            'targetId': 'targetId', 'runId': 'runId', 'action': 'action',
        },
    } -%}
    {%- set contacts = {
        'verification_failure': {
            'name': 'Verification failure', 'contact': 'Merge captain', 'priority': 'High',
        },
        'database_corruption': {
            'name': 'Database corruption', 'contact': 'DBA + Merge captain',
            'priority': 'Critical',
        },
        'data_loss': {
            'name': 'Data loss', 'contact': 'Incident response', 'priority': 'Critical',
        },
    } -%}
    {%- set optional = ['phone', 'joinedAt', 'endTime', 'location', 'registeredAt'] -%}
    {%- set name, known = trueup.system_settings('membership', known) -%}
    {%- if known.enabled and known.vocabulary not in trueup.vocabularies() -%}
        {{- trueup.raise_wrong_input(
            'var ' ~ name, 'vocabulary', known.vocabulary, trueup.vocabularies().keys()
        ) -}}
    {%- endif -%}
    {%- for entity, names in known.tables.items() -%}
        {%- set where = 'var ' ~ name ~ ', tables' -%}
        {%- if entity not in tables -%}
            {{- trueup.raise_wrong_input(where, 'entity', entity, tables.keys()) -}}
        {%- endif -%}
        {%- for field, column in names.items() -%}
            {%- if field not in tables[entity] -%}
                {{- trueup.raise_wrong_input(
                    where ~ '.' ~ entity, 'field', field, tables[entity].keys()
                ) -}}
            {%- elif column is none and field not in optional -%}
                {{- trueup.raise_wrong_input(
                    where ~ '.' ~ entity, 'column of ' ~ field, 'null', ['a name']
                ) -}}
            {%- endif -%}
            {%- do tables[entity].update({field: column}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for issue, entries in known.contacts.items() -%}
        {%- if issue not in contacts -%}
            {{- trueup.raise_wrong_input(
                'var ' ~ name ~ ', contacts', 'issue', issue, contacts.keys()
            ) -}}
        {%- endif -%}
        {%- do contacts[issue].update(entries) -%}
    {%- endfor -%}
    {%- do known.update({'tables': tables, 'contacts': contacts}) -%}
    {{- return(known) -}}
{%- endmacro -%}
