{#-
    The rows of the mapping that an import writes, into membership_decisions: the end of its
    statement. Expects the CTE decisions, those of rows that are imported.
    membership_mapping_rows('$1') → ... insert into membership_decisions ...
    A row that the import leaves as it is keeps the name of the run that wrote it.
-#}
{%- macro membership_mapping_rows(run_id) -%}
{%- set names = trueup.membership_settings().tables.mapping -%}
{%- set key = {names.entityType: 'text', names.waId: 'text'} -%}
found_rows as (
    select
        decisions.entity,
        decisions.source_id,
        decisions.row_key,
        decisions.action,
        case
            when {{ trueup.membership_column('mapping', 'waId', 'application') }} is not null
                then to_jsonb(application)
        end as image,
        application as image_row
    from decisions
    left join {{ trueup.membership_table('mapping') }} as application
        on
            decisions.entity
            = cast({{ trueup.membership_column('mapping', 'entityType', 'application') }} as text)
            and decisions.source_id
            = cast({{ trueup.membership_column('mapping', 'waId', 'application') }} as text)
),

mapping_rows as (
    select
        found_rows.*,
        jsonb_populate_record(
            found_rows.image_row,
            jsonb_build_object(
                {{ trueup.literal(names.entityType) }}, found_rows.entity,
                {{ trueup.literal(names.waId) }}, found_rows.source_id,
                {{ trueup.literal(names.targetId) }}, found_rows.row_key
            )
            || case
                when found_rows.action <> 'noop' or found_rows.image is null
                    then jsonb_build_object(
                        {{ trueup.literal(names.runId) }}, cast({{ run_id }} as text),
                        {{ trueup.literal(names.action) }},
                        case found_rows.action
                            when 'insert' then 'create'
                            when 'update' then 'update'
                            else 'skip'
                        end
                    )
                else '{}'
            end
        ) as wanted_row
    from found_rows
)

insert into membership_decisions (entity, source_id, row_key, action, wanted, image)
select
    'mapping' as entity,
    mapping_rows.source_id,
    {{ trueup.key_text(key, '(mapping_rows.wanted_row)') | indent(4) }} as row_key,
    case
        when mapping_rows.image is null then 'insert'
        when mapping_rows.image = to_jsonb(mapping_rows.wanted_row) then 'noop'
        else 'update'
    end as action,
    to_jsonb(mapping_rows.wanted_row) as wanted,
    mapping_rows.image
from mapping_rows
{%- endmacro -%}
