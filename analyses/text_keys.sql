-- name: text_keys(texts)
-- The text keys of some texts, in their order: how `trueup alias add` looks for a spelling that is decided already.
select
    given_texts.position,
    given_texts.given_text,
    {{ text_key('given_texts.given_text') }} as text_key
from unnest($1::text[]) with ordinality as given_texts (given_text, position)
order by given_texts.position
