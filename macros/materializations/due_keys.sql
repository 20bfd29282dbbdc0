{#-
    For an incremental mart: the CTE due_keys, the keys of the rows that a run must compute again.
    Three reasons: the source row changed (updated_at, with the look-back of the var
    updated_at_lookback), the mart does not have it, or one of its values means something else since
    an alias changed.

    due_keys('deals', columns) expects the CTEs `deals` (the source rows), built_rows (the mart as
    it stands) and stage_values (the resolved values); columns are the mart's entries of
    managed_columns(). Where the table has no updated_at, its values are compared. Ends with a
    comma.
-#}
{%- macro due_keys(source_rows, columns) -%}
{%- set source_key = source_rows ~ '.' ~ (columns[0].key.keys() | first) -%}
{%- set mart_key = columns[0].mart_key -%}
{%- set updated_at = columns[0].updated_at -%}
due_keys as (
    {%- if updated_at %}
    -- changed in the application since the last run
    select {{ source_key }} as {{ mart_key }}
    from {{ source_rows }}
    where
        {{ source_rows }}.{{ updated_at }} is null
        or {{ source_rows }}.{{ updated_at }} >= (
            select
                coalesce(max(built_rows.{{ updated_at }}), '-infinity')
                - interval '{{ var('updated_at_lookback') }}'
            from built_rows
        )
    union
    {%- endif %}
    -- not in the mart{{ ', or with another value' if not updated_at }}
    select {{ source_key }} as {{ mart_key }}
    from {{ source_rows }}
    left join built_rows
        on {{ source_key }} = built_rows.{{ mart_key }}
    where
        built_rows.{{ mart_key }} is null
    {%- for entry in columns if not updated_at %}
        or {{ source_rows }}.{{ entry.column }} is distinct from built_rows.{{ entry.column }}_raw
    {%- endfor %}
    union
    -- means something else since an alias changed
    select built_rows.{{ mart_key }}
    from built_rows
    {%- for entry in columns %}
    left join stage_values as {{ entry.column }}_now
        on built_rows.{{ entry.column }}_raw = {{ entry.column }}_now.raw_value
    {%- endfor %}
    where
        {%- for entry in columns %}
        {{ 'or ' if not loop.first -}}
        built_rows.{{ entry.column }} is distinct from {{ entry.column }}_now.canonical_value
        or built_rows.{{ entry.column }}_resolution
        <> coalesce({{ entry.column }}_now.resolution, 'null')
        {%- endfor %}
),
{%- endmacro -%}
