{#-
    What the columns of a row should hold, from a record, as the CTE `wanted_rows`: the columns of
    `records` and wanted (jsonb, {column: value}; what the record does not say is not in it). No
    comma at the end.

    membership_wanted('member') expects the CTEs records(entity, source_id, record, ...) and, for
    members, known_tiers(code, id).
-#}
{%- macro membership_wanted(entity) -%}
{%- set tables = trueup.membership_settings().tables -%}
{%- set fields = trueup.membership_fields(entity) -%}
wanted_rows as {{ trueup.computed_once() }} (
    select
        records.*,
        jsonb_strip_nulls(
            jsonb_build_object(
                {%- for field, kind in fields.items() %}
                {{ trueup.literal(tables[entity][field]) }},
                {{ trueup._wanted_value(field, kind) | indent(16) }}{{ ',' if not loop.last }}
                {%- endfor %}
            )
        ) as wanted
    from records
    {%- if 'tier' in fields.values() %}
    left join known_tiers on records.record ->> 'tier' = known_tiers.code
    {%- endif %}
    {%- if 'status' in fields.values() %}
    left join {{ trueup.membership_table('status') }} as statuses
        on
            records.record ->> 'status'
            = cast({{ trueup.membership_column('status', 'code', 'statuses') }} as text)
    {%- endif %}
)
{%- endmacro -%}

{%- macro _wanted_value(field, kind) -%}
{%- if kind == 'time' -%}
{{ trueup.iso_time("(records.record ->> '" ~ field ~ "')") }}
{%- elif kind == 'tier' -%}
known_tiers.id
{%- elif kind == 'status' -%}
{{ trueup.membership_column('status', 'id', 'statuses') }}
{%- elif kind == 'id' -%}
case
    when
        records.record ->> '{{ field }}'
        ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then records.record -> '{{ field }}'
end
{%- else -%}
records.record -> '{{ field }}'
{%- endif -%}
{%- endmacro -%}
