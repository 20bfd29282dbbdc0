{#-
    The parts of a text key that no typing error may explain: its words of at most two letters, and
    everything that is no letter a-z or space. Two keys whose fixed parts differ are never suggested
    for each other.
    fixed_parts('text_key'): 'sereis b' → 'b ', 'series x' → 'x ', 'series b 2' → 'b 2 2',
                             'seed?' → ' ?', '非seed' → ' 非'
-#}
{%- macro fixed_parts(expression) -%}
btrim(
    regexp_replace(
        regexp_replace({{ expression }}, '[^ ]{3,}', '', 'g'),
        ' +',
        ' ',
        'g'
    )
)
|| ' ' || regexp_replace({{ expression }}, '[a-z ]+', '', 'g')
{%- endmacro -%}
