{#-
    Levenshtein distance of two texts, exact up to the limit and something above it beyond. Of the
    extension fuzzystrmatch; raises above 255 bytes, so the callers bound the length.
    edit_distance('one', 'other', 2) → levenshtein_less_equal(one, other, 2)
-#}
{%- macro edit_distance(one, other, limit) -%}
    levenshtein_less_equal({{ one }}, {{ other }}, {{ limit }})
{%- endmacro -%}
