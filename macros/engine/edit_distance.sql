{#-
    Levenshtein distance of two texts, exact up to the limit; beyond it some number above the limit.
    Needs the extension fuzzystrmatch; raises above 255 bytes, so callers limit the length.
    edit_distance('one', 'other', 2) → levenshtein_less_equal(one, other, 2)
-#}
{%- macro edit_distance(one, other, limit) -%}
    levenshtein_less_equal({{ one }}, {{ other }}, {{ limit }})
{%- endmacro -%}
