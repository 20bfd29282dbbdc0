{#-
    The rows of a file as records, as CTEs; no comma at the end. Reads the temporary table
    membership_rows; row 1 is the header.

    membership_cells('event', '$1') → ..., cells(source_row, record, reason) as (...)
    config: migration-config.json, jsonb; `columns` may name the columns of the files
    reason: why the row cannot be read, else NULL. A cell of spaces is NULL.
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

cells as {{ trueup.computed_once() }} (
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
)
{%- endmacro -%}
