{#-
    SHA-256 of a whole row, by which an undo knows whether anybody has changed it since.
    row_hash('application') → encode(sha256(convert_to(cast(to_jsonb(application) as text), ... )))

    Trap: times, intervals and bytes are written as the session's settings say, so the transaction
    begins with begin_images.
-#}
{%- macro row_hash(relation) -%}
{{ trueup.text_digest('cast(to_jsonb(' ~ relation ~ ') as text)') }}
{%- endmacro -%}
