{#-
    The key of an alias is at least two characters long and does not belong to a canonical value or
    label already: 'Seed' cannot be made an alias of anything. Shows the alias and the canonical
    value that has the key.
-#}
{% test alias_key_is_free(model, column_name, canonical_seed) -%}
with aliases as (
    select * from {{ model }}
),

canonical_values as (
    select * from {{ canonical_seed }}
),

keyed_aliases as (
    select
        aliases.*,
        {{ trueup.text_key('aliases.' ~ column_name) | indent(8) }} as text_key
    from aliases
),

spellings as (
    select
        canonical_values.canonical_value,
        canonical_values.canonical_value as spelling
    from canonical_values
    union all
    select
        canonical_values.canonical_value,
        canonical_values.label as spelling
    from canonical_values
),

keyed_spellings as (
    select
        spellings.*,
        {{ trueup.text_key('spellings.spelling') | indent(8) }} as text_key
    from spellings
)

-- once, where value and label share a key
select distinct
    keyed_aliases.{{ column_name }} as alias_found,
    keyed_aliases.text_key,
    keyed_spellings.canonical_value as belongs_to
from keyed_aliases
left join keyed_spellings
    on keyed_aliases.text_key = keyed_spellings.text_key
where
    keyed_spellings.text_key is not null
    or char_length(keyed_aliases.text_key) < 2
{%- endtest %}
