{#-
    The three columns a mart shows for one managed column: as stored, canonical, and how it was
    resolved.
    resolved_columns('companies', 'stage', 'stage_values')
    → companies.stage as stage_raw, stage_values.canonical_value as stage, ... as stage_resolution
-#}
{%- macro resolved_columns(source_rows, column, resolved_values) -%}
{{ source_rows }}.{{ trueup.quoted(column) }} as {{ trueup.quoted(column ~ '_raw') }},
{{ resolved_values }}.canonical_value as {{ trueup.quoted(column) }},
case
    when {{ source_rows }}.{{ trueup.quoted(column) }} is null then 'null'
    -- a value that appeared since int_values was built is unknown until the next run
    else coalesce({{ resolved_values }}.resolution, 'unknown')
end as {{ trueup.quoted(column ~ '_resolution') }}
{%- endmacro -%}
