{#-
    A text literal from Unicode code points, so that compiled SQL shows which characters are meant
    even if they are invisible or look like other characters.
    code_points(['0410', '2028']) → U&'\0410\2028'
-#}
{%- macro code_points(points) -%}
    U&'{% for point in points %}\{{ point }}{% endfor %}'
{%- endmacro -%}
