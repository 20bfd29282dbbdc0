{#-
    The unit that a transaction works on, an array of texts: one of the list of its batch. For kinds
    of runs whose units are transactions of their own; their lists have units as texts.
    listed_unit('$3', '$4') → cast((cast($4 as text[]))[cast($3 as integer)] as text[])
-#}
{%- macro listed_unit(place, units) -%}
cast((cast({{ units }} as text[]))[cast({{ place }} as integer)] as text[])
{%- endmacro -%}
