{#-
    For an incremental mart: only the rows that are new or different in the target. One pass over
    source and target compares every column. It does not rely on updated_at, which bulk loads,
    disabled triggers, late commits and wrong clocks can falsify, nor on the date of an alias.

    changed_rows('deal_stages', this, 'deal_id', ['deal_id', 'stage']) compares the CTE deal_stages
    with the existing mart. The key is never NULL. Columns must be comparable (jsonb, not json).

    If config.meta has `complete_keys: changed_rows`, the same pass finds the deleted keys: rows
    with a key and NULLs only, which merge_changed deletes from the target.

    Why words and not a bare condition: for "a or b or c is distinct" PostgreSQL expects nearly all
    rows to pass, and reads both sides in one process; for a word in a list it expects few.
-#}
{%- macro changed_rows(computed_rows, target, key, columns) -%}
{%- set gone_keys = (config.get('meta') or {}).get('complete_keys') == 'changed_rows' -%}
{%- if gone_keys -%}
select
    {%- for column in columns if column != key %}
    {{ computed_rows }}.{{ column }},
    {%- endfor %}
    coalesce({{ computed_rows }}.{{ key }}, built.{{ key }}) as {{ key }}
{%- else -%}
select {{ computed_rows }}.*
{%- endif %}
from {{ computed_rows }}
{{ 'full' if gone_keys else 'left' }} join {{ target.include(database=false) }} as built
    on {{ computed_rows }}.{{ key }} = built.{{ key }}
where
    case
        when built.{{ key }} is null then 'new'
        {%- if gone_keys %}
        -- all other columns of the row are NULL: the key was deleted from the source
        when {{ computed_rows }}.{{ key }} is null then 'gone'
        {%- endif %}
        {%- for column in columns if column != key %}
        when
            {{ computed_rows }}.{{ column }}
            is distinct from built.{{ column }}
            then 'changed'
        {%- endfor %}
        else 'same'
    end in ('new',{{ " 'gone'," if gone_keys }} 'changed')
{%- endmacro -%}
