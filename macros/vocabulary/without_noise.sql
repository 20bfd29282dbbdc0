{#-
    A text key without the vocabulary's noise words at its end.
    without_noise('text_key', vocabulary): 'seed funding round' → 'seed', 'round' → 'round',
                                           'round a' → 'round a'
    Noise words are part of the configuration; vocabularies() has checked that each is one plain
    lower-case word.
-#}
{%- macro without_noise(expression, vocabulary) -%}
{%- if vocabulary.noise_words -%}
regexp_replace(
    {{ expression }},
    '( ('
    {%- for words in vocabulary.noise_words | batch(6) %}
    || '{{ '|' if not loop.first }}{{ words | join('|') }}'
    {%- endfor %}
    || '))+$',
    ''
)
{%- else -%}
{{ expression }}
{%- endif -%}
{%- endmacro -%}
