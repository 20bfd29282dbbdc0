{#-
    The rows of a file as records, as CTEs; no comma at the end. Reads the temporary table
    membership_rows; row 1 is the header.

    membership_cells('event', '$1') →
        ..., cells(source_row, record, source_id, reason, date_reason) as (...)
    config: migration-config.json, jsonb; `columns` may name the columns of the files
    reason: why the row cannot be read or has no id of its own, else NULL; date_reason: which of its
    dates is none. A cell of spaces is NULL.
-#}
{%- macro membership_cells(entity, config) -%}
header as (
    select
        rows.cell_texts,
        cardinality(rows.cell_texts) as cell_total
    from membership_rows as rows
    where
        rows.entity = '{{ entity }}'
        and rows.source_row = 1
),

accepted_names (field, names) as (
    values
    {%- for field, names in trueup.membership_headers()[entity].items() %}
    ('{{ field }}', array['{{ names | join("', '") }}']){{ ',' if not loop.last }}
    {%- endfor %}
),

positions as (
    select
        accepted_names.field,
        min(named.place) as place
    from accepted_names
    cross join header
    cross join
        lateral unnest(header.cell_texts) with ordinality as named (name, place)
    where
        lower(btrim(named.name)) = any(
            case
                when
                    cast({{ config }} as jsonb)
                    #>> array['columns', '{{ entity }}s', accepted_names.field] is null
                    then accepted_names.names
                else
                    array[
                        lower(
                            cast({{ config }} as jsonb)
                            #>> array['columns', '{{ entity }}s', accepted_names.field]
                        )
                    ]
            end
        )
    group by accepted_names.field
),

read_cells as (
    select
        rows.source_row,
        jsonb_object_agg(
            positions.field, nullif(btrim(rows.cell_texts[positions.place]), '')
        ) as record,
        case
            when cardinality(rows.cell_texts) <> header.cell_total
                then
                    'shape: the row has ' || cardinality(rows.cell_texts)
                    || ' fields, the header ' || header.cell_total
        end as reason
    from membership_rows as rows
    cross join header
    cross join positions
    where
        rows.entity = '{{ entity }}'
        and rows.source_row > 1
    group by
        rows.source_row,
        rows.cell_texts,
        header.cell_total
),

cells as {{ trueup.computed_once() }} (
    select
        read_cells.source_row,
        read_cells.record,
        read_cells.record ->> 'id' as source_id,
        case
            when read_cells.reason is not null then read_cells.reason
            when read_cells.record ->> 'id' is null then 'no_id'
            when
                row_number() over (
                    partition by read_cells.record ->> 'id'
                    order by read_cells.source_row
                ) > 1
                then 'duplicate_id: an earlier row has it, too'
        end as reason,
        {{ trueup.membership_bad_dates(entity, 'read_cells.record') | indent(8) }} as date_reason
    from read_cells
)
{%- endmacro -%}
