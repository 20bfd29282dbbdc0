{#-
    For an incremental mart: the rows that the target lacks or shows differently, and no others.
    One pass over both, in which every column is compared. Nothing is taken on trust: not
    updated_at, which bulk loads, disabled triggers, late commits and wrong clocks bend, and not
    the date of an alias.

    changed_rows('deal_stages', this, 'deal_id', ['deal_id', 'stage']) compares the CTE deal_stages
    with the mart as it stands. The key is never NULL. Columns need an equality (jsonb, not json).

    Where config.meta has `complete_keys: changed_rows`, the same pass gives the keys of the target
    that are not there any more: rows with nothing but a key, which merge_changed deletes.

    Why words and not a bare condition: of "a or b or c is distinct" PostgreSQL expects that nearly
    all rows pass, and reads both sides in one process; of a word in a list, that few do.
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
        -- all other columns of the row are NULL: the key has left the source
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
