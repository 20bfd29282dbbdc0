{#-
    The key of a unit, an array of texts, as one text: the ledger's row_key.
    unit_text('images.unit') → one key as it is, several as PostgreSQL writes an array of them
-#}
{%- macro unit_text(unit) -%}
case
    when cardinality({{ unit }}) = 1 then ({{ unit }})[1]
    else cast({{ unit }} as text)
end
{%- endmacro -%}
