{#-
    The stripe of a row, 0 to stripes - 1; the number of stripes is a power of two. Neighbouring
    rows get different stripes, so that a batch can reuse page space that an earlier one freed. `&`,
    never `%`: a negative key or hash would belong to no stripe.
    Integer keys are not hashed unless they come in steps; other keys are hashed.
    stripe_of({'id': 'uuid'}, 'rows', '$1', '$2') →
        hashtextextended(cast(rows.id as text), 0) & (cast($1 as bigint) - 1)
-#}
{%- macro stripe_of(key, relation, stripes, hashed) -%}
    {%- set hash = 'hashtextextended(' ~ trueup.key_text(key, relation) ~ ', 0)' -%}
    {%- if trueup.is_integer_key(key) -%}
case
    when cast({{ hashed }} as boolean)
        then {{ hash }}
    else {{ trueup.key_columns(key, relation) }}
end & (cast({{ stripes }} as bigint) - 1)
    {%- else -%}
{{ hash }} & (cast({{ stripes }} as bigint) - 1)
    {%- endif -%}
{%- endmacro -%}
