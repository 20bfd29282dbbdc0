{#-
    How much a mode interferes with writes, as an expression: a change to a higher number is an
    upgrade, which needs a gate or an override. off 0, whatever refuses and rewrites nothing 1,
    normalize 2, enforce 3 to 4 by its share, sealed 5.
    mode_rank('mode', 'percent', 'shadow', 'write_only') → case when mode = 'off' then 0 ...
-#}
{%- macro mode_rank(mode, percent, shadow, write_only) -%}
case
    when {{ mode }} = 'off' then 0
    when {{ mode }} = 'sealed' then 5
    when {{ shadow }} then 1
    when {{ mode }} = 'enforce' or ({{ mode }} = 'warn' and {{ write_only }})
        then 3 + {{ percent }} / 100
    when {{ mode }} = 'normalize' then 2
    else 1
end
{%- endmacro -%}
