{#-
    An id of a bundle as the database writes it: a uuid in lower case, any other text as it is. An
    expression.
    membership_id("listed.record ->> '_targetId'") → case when ... ~* '^[0-9a-f]{8}-...' ... end
-#}
{%- macro membership_id(text) -%}
case
    when
        {{ text }}
        ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then lower({{ text }})
    else {{ text }}
end
{%- endmacro -%}
