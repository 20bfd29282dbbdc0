{#-
    The writes of an import, as CTEs; no comma at the end. Expects the CTE fence.
    membership_writes() → ..., written_rows(table_name, unit, row_key, source_id, before_image,
        after_hash) as (...)

    unit: what an undo takes back in one transaction: 500 rows of a table, children first.
-#}
{%- macro membership_writes() -%}
{% for target in trueup.membership_targets() -%}
{%- set entity = target.entity -%}
{%- set columns = (target.key.keys() | list) + target.columns -%}
{{ entity }}_inserted as (
    insert into {{ trueup.target_table(target) }} as application (
        {%- for column in columns %}
        {{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    select
        {%- for column in columns %}
        wanted.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from membership_decisions as decisions
    cross join fence
    cross join
        lateral jsonb_populate_record(
            cast(null as {{ trueup.target_table(target) }}), decisions.wanted
        ) as wanted
    where
        decisions.entity = '{{ entity }}'
        and decisions.action = 'insert'
    returning
        {{ trueup.key_text(target.key, 'application') | indent(8) }} as row_key,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

{{ entity }}_updated as (
    update {{ trueup.target_table(target) }} as application
    set
        {%- for column in target.columns %}
        {{ trueup.quoted(column) }} = wanted.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from membership_decisions as decisions
    cross join fence
    cross join
        lateral jsonb_populate_record(
            cast(null as {{ trueup.target_table(target) }}), decisions.wanted
        ) as wanted
    where
        decisions.entity = '{{ entity }}'
        and decisions.action = 'update'
        and ({{ trueup.key_columns(target.key, 'application') }})
        = ({{ trueup.key_columns(target.key, 'wanted') }})
    returning
        {{ trueup.key_text(target.key, 'application') | indent(8) }} as row_key,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

{{ entity }}_written as (
    select * from {{ entity }}_inserted
    union all
    select * from {{ entity }}_updated
),

{% endfor -%}
written_rows as (
    {%- for target in trueup.membership_targets() %}
    {%- set entity = target.entity %}
    select
        {{ trueup.literal(target.table) }} as table_name,
        array[
            '{{ loop.revindex }} {{ entity }}',
            cast(
                (
                    row_number() over (
                        order by
                            decisions.source_row asc,
                            decisions.row_key asc
                    ) - 1
                ) / 500 as text
            )
        ] as unit,
        decisions.row_key,
        decisions.source_id,
        decisions.image as before_image,
        {{ entity }}_written.after_hash
    from {{ entity }}_written
    inner join membership_decisions as decisions
        on
            decisions.entity = '{{ entity }}'
            and {{ entity }}_written.row_key = decisions.row_key
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
