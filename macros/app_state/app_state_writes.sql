{#-
    The writes of documents, as CTEs; no comma at the end. Expects the CTEs fence and those of
    app_state_changes(locks=true).
    app_state_writes() → orgs_inserted as (...), ..., written_rows(owner_id, table_name, row_key,
        source_id, before_image, after_hash) as (...)

    Only rows that were seen, and locked, are updated or deleted; a row of the same id that somebody
    inserts meanwhile is left alone.
-#}
{%- macro app_state_writes() -%}
{% for target in trueup.app_state_targets() -%}
{%- set table = target.table -%}
{%- set key = target.key.keys() | first -%}
{{ table }}_inserted as (
    insert into {{ trueup.target_table(target) }} as application (
        {%- for column in target.types %}
        {{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
    select
        {%- for column in target.types %}
        {{ table }}_changes.{{ trueup.quoted(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ table }}_changes
    cross join fence
    where {{ table }}_changes.action = 'insert'
    on conflict do nothing
    returning
        cast(application.{{ key }} as text) as row_key,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

{{ table }}_updated as (
    update {{ trueup.target_table(target) }} as application
    set
        {%- for column in target.columns %}
        {{ trueup.quoted(column) }} = {{ table }}_changes.{{ trueup.quoted(column) }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ table }}_changes
    cross join fence
    where
        application.{{ key }} = {{ table }}_changes.{{ key }}
        and {{ table }}_changes.action = 'update'
    returning
        {{ table }}_changes.row_key,
        {{ trueup.row_hash('application') | indent(8) }} as after_hash
),

{{ table }}_removed as (
    delete from {{ trueup.target_table(target) }} as application
    using {{ table }}_changes, fence
    where
        cast(application.{{ key }} as text) = {{ table }}_changes.row_key
        and {{ table }}_changes.action = 'delete'
    returning
        {{ table }}_changes.row_key,
        cast(null as text) as after_hash
),

{{ table }}_written as (
    select * from {{ table }}_inserted
    union all
    select * from {{ table }}_updated
    union all
    select * from {{ table }}_removed
),

{% endfor -%}
written_rows as (
    {%- for target in trueup.app_state_targets() %}
    {%- set table = target.table %}
    select
        {{ table }}_changes.owner_id,
        '{{ table }}' as table_name,
        {{ table }}_changes.row_key,
        {{ table }}_changes.source_id,
        to_jsonb({{ table }}_changes.image_row) as before_image,
        {{ table }}_written.after_hash
    from {{ table }}_written
    inner join {{ table }}_changes
        on {{ table }}_written.row_key = {{ table }}_changes.row_key
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)
{%- endmacro -%}
