{#-
    The end of a statement that decides what an import does with an entity: the rows beside those of
    the application, into the temporary table membership_decisions.

    membership_decided('event') expects the CTEs records(entity, source_row, source_id, target_id,
    record, reason) and wanted_rows, see membership_wanted(). A row with a reason is refused.
-#}
{%- macro membership_decided(entity) -%}
{%- set known = {} -%}
{%- for target in trueup.membership_targets() if target.entity == entity -%}
{%- do known.update(target) -%}
{%- endfor -%}
needed_columns as (
    select cast(pg_attribute.attname as text) as column_name
    from pg_catalog.pg_attribute
    where
        pg_attribute.attrelid
        = cast({{ trueup.literal(trueup.target_table(known)) }} as regclass)
        and pg_attribute.attnotnull
        and pg_attribute.attname in (
            {%- for column in known.columns %}
            {{ trueup.literal(column) }}{{ ',' if not loop.last }}
            {%- endfor %}
        )
),

merged_rows as (
    select
        wanted_rows.entity,
        wanted_rows.source_row,
        wanted_rows.source_id,
        wanted_rows.target_id,
        wanted_rows.record,
        wanted_rows.reason,
        row_number() over (
            partition by
                wanted_rows.target_id,
                wanted_rows.reason is null
            order by wanted_rows.source_row
        ) as target_place,
        case
            when {{ trueup.membership_column(entity, 'id', 'application') }} is not null
                then to_jsonb(application)
        end as image,
        -- what the file does not say stays as it is
        to_jsonb(
            jsonb_populate_record(
                application,
                wanted_rows.wanted
                || jsonb_build_object(
                    {{ trueup.literal(known.key.keys() | first) }}, wanted_rows.target_id
                )
            )
        ) as wanted
    from wanted_rows
    left join {{ trueup.membership_table(entity) }} as application
        on
            wanted_rows.target_id
            = cast({{ trueup.membership_column(entity, 'id', 'application') }} as text)
            and wanted_rows.reason is null
),

judged_rows as (
    select
        merged_rows.entity,
        merged_rows.source_row,
        merged_rows.source_id,
        merged_rows.target_id,
        merged_rows.record,
        merged_rows.image,
        merged_rows.wanted,
        case
            when merged_rows.reason is not null then merged_rows.reason
            when merged_rows.target_place > 1
                then 'target_taken: an earlier row of the file is row ' || merged_rows.target_id
            else
                (
                    select 'empty: ' || string_agg(needed_columns.column_name, ', ')
                    from needed_columns
                    where merged_rows.wanted ->> needed_columns.column_name is null
                )
        end as reason
    from merged_rows
)

insert into membership_decisions (
    entity, source_row, source_id, row_key, action, record, wanted, image, reason
)
select
    judged_rows.entity,
    judged_rows.source_row,
    judged_rows.source_id,
    case when judged_rows.reason is null then judged_rows.target_id end as row_key,
    case
        when judged_rows.reason is not null then 'refuse'
        when judged_rows.image is null then 'insert'
        when judged_rows.image = judged_rows.wanted then 'noop'
        else 'update'
    end as action,
    judged_rows.record,
    judged_rows.wanted,
    judged_rows.image,
    judged_rows.reason
from judged_rows
{%- endmacro -%}
