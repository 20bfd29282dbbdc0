{#-
    Several values as one text, a JSON array: different values give different texts. For keys and
    digests.
    list_text(['a.one', 'a.two']) → cast(jsonb_build_array(a.one, a.two) as text), on several lines
-#}
{%- macro list_text(expressions) -%}
cast(
    jsonb_build_array(
        {{ expressions | join(',\n        ') }}
    ) as text
)
{%- endmacro -%}
