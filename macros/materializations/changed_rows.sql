{#-
    For an incremental mart: the rows that the target lacks or shows differently, and no others.
    One pass over both; nothing is taken on trust: not updated_at, which late commits, bulk loads
    and disabled triggers bend, and not the date of an alias.

    changed_rows('deal_stages', this, 'deal_id', ['deal_id', 'stage']) compares the CTE deal_stages
    with the mart as it stands. All columns are compared, the key is never NULL.
-#}
{%- macro changed_rows(computed_rows, target, key, columns) -%}
select {{ computed_rows }}.*
from {{ computed_rows }}
left join {{ target }} as built
    on {{ computed_rows }}.{{ key }} = built.{{ key }}
where
    built.{{ key }} is null
    {%- for column in columns if column != key %}
    or {{ computed_rows }}.{{ column }} is distinct from built.{{ column }}
    {%- endfor %}
{%- endmacro -%}
