{#-
    A text literal from Unicode code points, so that compiled SQL shows which characters are meant
    even where they are invisible or look like others.
    code_points(['0410', '2028']) → U&'\0410\2028'
-#}
{%- macro code_points(points) -%}
    U&'{% for point in points %}\{{ point }}{% endfor %}'
{%- endmacro -%}
