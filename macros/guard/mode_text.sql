{#-
    A mode with its share and flags as people read it, as an expression.
    mode_text('events') → concat_ws(', ', events.mode || ...): 'enforce 10 %, shadow'

    relation: has mode (or what `mode` names), percent, shadow and write_only
-#}
{%- macro mode_text(relation, mode='mode') -%}
concat_ws(
    ', ',
    {{ relation }}.{{ mode }} || case
        when {{ relation }}.{{ mode }} = 'enforce'
            then ' ' || trim_scale({{ relation }}.percent) || ' %'
        else ''
    end,
    case when {{ relation }}.shadow then 'shadow' end,
    case when {{ relation }}.write_only then 'write only' end
)
{%- endmacro -%}
