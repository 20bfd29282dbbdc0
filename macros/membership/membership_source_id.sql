{#-
    The id that a new row of the application gets, made of the id of its source, so that a plan
    knows it. An expression, text.
    membership_source_id('member', 'records.source_id') → cast(cast(md5(...) as uuid) as text)
-#}
{%- macro membership_source_id(entity, source_id) -%}
cast(cast(md5('{{ entity }} ' || {{ source_id }}) as uuid) as text)
{%- endmacro -%}
