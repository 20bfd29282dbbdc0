{#-
    For an incremental mart: the rows that the target lacks or shows differently, and no others.
    One pass over both, in which every column is compared. Nothing is taken on trust: not
    updated_at, which bulk loads, disabled triggers, late commits and wrong clocks bend, and not
    the date of an alias.

    changed_rows('deal_stages', this, 'deal_id', ['deal_id', 'stage']) compares the CTE deal_stages
    with the mart as it stands. The key is never NULL. Columns need an equality (jsonb, not json).
-#}
{%- macro changed_rows(computed_rows, target, key, columns) -%}
select {{ computed_rows }}.*
from {{ computed_rows }}
left join {{ target.include(database=false) }} as built
    on {{ computed_rows }}.{{ key }} = built.{{ key }}
where
    built.{{ key }} is null
    {%- for column in columns if column != key %}
    or {{ computed_rows }}.{{ column }} is distinct from built.{{ column }}
    {%- endfor %}
{%- endmacro -%}
