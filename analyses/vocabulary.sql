-- name: text_keys(texts, vocabulary)
-- The text keys of some texts, in their order, whole and without the vocabulary's noise words.
-- `trueup alias add` uses them to find out whether a spelling is already decided.
with keyed_texts as {{ computed_once() }} (
    select
        given_texts.position,
        {{ text_key('given_texts.given_text') | indent(8) }} as text_key
    from unnest(cast($1 as text[])) with ordinality as given_texts (given_text, position)
)

select
    keyed_texts.text_key,
    case cast($2 as text)
        {%- for vocabulary in vocabularies().values() %}
        when '{{ vocabulary.name }}'
            then {{ without_noise('keyed_texts.text_key', vocabulary) | indent(12) }}
        {%- endfor %}
    end as bare_key
from keyed_texts
order by keyed_texts.position
