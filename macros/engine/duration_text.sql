{#-
    A time for reading. An expression.
    duration_text('seconds'): 93.4 → '93 s', 5400 → '90 min', 100000 → '28 h'
-#}
{%- macro duration_text(seconds) -%}
case
    when {{ seconds }} < 120
        then round({{ seconds }}) || ' s'
    when {{ seconds }} < 7200
        then round({{ seconds }} / 60) || ' min'
    else round({{ seconds }} / 3600) || ' h'
end
{%- endmacro -%}
