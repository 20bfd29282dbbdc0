{#-
    A row of an entity's table as the document would have it: an item, of the columns only.
    app_state_printed('orgs', 'orgs_rows') →
        jsonb_strip_nulls(jsonb_build_object('id', ..., 'createdAt', ...))

    rows: a relation with the entity's columns, source_id, and for each parent <column>_source: the
    parent's id in the document. Times are printed as JavaScript does.
-#}
{%- macro app_state_printed(entity, rows) -%}
{%- set known = trueup.app_state_entities()[entity] -%}
jsonb_strip_nulls(
    jsonb_build_object(
        'id', {{ rows }}.source_id
        {%- for column, key in known.parent_keys.items() %},
        '{{ key }}',
        case
            when {{ rows }}.{{ column }} is not null
                then {{ rows }}.{{ column }}_source
        end
        {%- endfor %}
        {%- for column, each in known.columns.items() %},
        {%- if each.type == 'timestamptz' %}
        '{{ each.key }}', to_char(
            {{ rows }}.{{ trueup.quoted(column) }} at time zone 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
        )
        {%- else %}
        '{{ each.key }}', {{ rows }}.{{ trueup.quoted(column) }}
        {%- endif %}
        {%- endfor %}
    )
)
{%- endmacro -%}
