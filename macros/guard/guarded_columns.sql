{#-
    The managed columns and how their guard is configured, as the CTEs `configured` and `guarded`;
    no comma at the end. guarded: scope, schema_name, table_name, column_name, tenant_column,
    vocabulary, refuses_null, refuses_blank.
    guarded_columns() → configured (...) as (values ...), guarded as (...)
-#}
{%- macro guarded_columns() -%}
configured (
    place, table_name, column_name, tenant_column, vocabulary, refuses_null, refuses_blank
) as (
    {%- if not trueup.managed_columns() %}
    select
        0 as place,
        '' as table_name,
        '' as column_name,
        '' as tenant_column,
        '' as vocabulary,
        false as refuses_null,
        false as refuses_blank
    where false
    {%- else %}
    values
    {%- endif %}
    {%- for entry in trueup.managed_columns() %}
    (
        {{ loop.index }},
        {{ trueup.literal(entry.table) }},
        {{ trueup.literal(entry.column) }},
        {{ trueup.literal(entry.tenant) if entry.tenant else 'cast(null as text)' }},
        {{ trueup.literal(entry.vocabulary) }},
        {{ (entry.guard.null == 'refuse') | lower }},
        {{ (entry.guard.blank == 'refuse') | lower }}
    )
    {{- ',' if not loop.last }}
    {%- endfor %}
),

guarded as (
    select
        configured.*,
        {{ trueup.app_schema() }} as schema_name,
        format('%I.%I.%I', {{ trueup.app_schema() }}, configured.table_name, configured.column_name)
            as scope
    from configured
)
{%- endmacro -%}
