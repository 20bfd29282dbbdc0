-- Named statements that say what a kind of run is, one per kind. A plan stores the answer with the
-- run, and nothing reads it from here afterwards.
{%- for name, record in run_kinds().items() %}

{{ run_kind(name, record) }}
{%- endfor %}
