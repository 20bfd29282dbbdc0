{#-
    The type of a key's column as managed_columns has it, from what PostgreSQL or a person calls it:
    an expression.
    key_type('columns.type'): 'character varying(36)' → 'text', 'numeric(20,0)' → 'numeric',
        'timestamp with time zone' → 'timestamptz'; others as they are
-#}
{%- macro key_type(type) -%}
case
    when {{ type }} ~ '^(character varying|varchar|text)' then 'text'
    when {{ type }} ~ '^timestamp.*with time zone$' then 'timestamptz'
    when {{ type }} ~ '^numeric([(][0-9]+(, *0)?[)])?$' then 'numeric'
    else {{ type }}
end
{%- endmacro -%}
