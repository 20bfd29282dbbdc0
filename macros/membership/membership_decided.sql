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
merged_rows as (
    select
        wanted_rows.entity,
        wanted_rows.source_row,
        wanted_rows.source_id,
        wanted_rows.target_id,
        wanted_rows.record,
        wanted_rows.reason,
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
)

insert into membership_decisions (
    entity, source_row, source_id, row_key, action, record, wanted, image, reason
)
select
    merged_rows.entity,
    merged_rows.source_row,
    merged_rows.source_id,
    case when merged_rows.reason is null then merged_rows.target_id end as row_key,
    case
        when merged_rows.reason is not null then 'refuse'
        when merged_rows.image is null then 'insert'
        when merged_rows.image = merged_rows.wanted then 'noop'
        else 'update'
    end as action,
    merged_rows.record,
    merged_rows.wanted,
    merged_rows.image,
    merged_rows.reason
from merged_rows
{%- endmacro -%}
