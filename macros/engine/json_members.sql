{#-
    The members of a jsonb object, laterally: a FROM item with the columns stage_name and
    weight_value (jsonb). Anything that is not an object has no members.
    json_members('models.allocation', 'members') → lateral jsonb_each( ... ) as members (...)
-#}
{%- macro json_members(expression, alias) -%}
lateral jsonb_each(
    case
        when jsonb_typeof({{ expression }}) = 'object'
            then {{ expression }}
        else '{}'
    end
) as {{ alias }} (stage_name, weight_value)
{%- endmacro -%}
