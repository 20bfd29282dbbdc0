{#-
    Columns that the files of an import must have and have not, as the CTE `lacking(message)`, and
    those that the configuration names and no file has; no comma at the end.
    membership_lacking_columns('$1') → ..., lacking as (...)
-#}
{%- macro membership_lacking_columns(config) -%}
{%- set needed = [
    'id', 'email', 'firstName', 'lastName', 'title', 'startTime', 'eventId', 'memberId',
] -%}
header as (
    select
        rows.entity,
        lower(btrim(named.name)) as name
    from membership_rows as rows
    cross join lateral unnest(rows.cell_texts) as named (name)
    where rows.source_row = 1
),

accepted_names (entity, field, names, is_needed) as (
    values
    {%- for entity, fields in trueup.membership_headers().items() %}
    {%- set last_entity = loop.last %}
    {%- for field, names in fields.items() %}
    (
        '{{ entity }}',
        '{{ field }}',
        array['{{ names | join("', '") }}'],
        {{ 'true' if field in needed else 'false' }}
    ){{ ',' if not (loop.last and last_entity) }}
    {%- endfor %}
    {%- endfor %}
),

configured as (
    select
        accepted_names.*,
        cast({{ config }} as jsonb)
        #>> array['columns', accepted_names.entity || 's', accepted_names.field] as own_name
    from accepted_names
),

given_keys as (
    select given.name
    from jsonb_object_keys(cast({{ config }} as jsonb)) as given (name)
),

lacking as (
    select
        'the configuration has ' || given_keys.name || '; allowed: tierMapping, statusMapping,'
        || ' levelStatusMapping, registrationStatusMapping, columns' as message
    from given_keys
    where
        given_keys.name not in (
            'tierMapping', 'statusMapping', 'levelStatusMapping', 'registrationStatusMapping',
            'columns'
        )
    union all
    select
        configured.entity || 's.csv has no column for ' || configured.field || ': '
        || coalesce(
            '"' || configured.own_name || '", as columns.' || configured.entity || 's of the'
            || ' configuration says',
            array_to_string(configured.names, ' or ')
        ) as message
    from configured
    where
        (configured.is_needed or configured.own_name is not null)
        and not exists (
            select 1 as found
            from header
            where
                header.entity = configured.entity
                and header.name = any(
                    case
                        when configured.own_name is null then configured.names
                        else array[lower(configured.own_name)]
                    end
                )
        )
)
{%- endmacro -%}
