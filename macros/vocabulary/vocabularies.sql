{#-
    The var vocabularies, checked: {name: {canonical_seed, alias_seed, accept_broader,
    noise_words}}.
    Called while parsing, so a wrong entry stops `dbt parse`.
-#}
{%- macro vocabularies() -%}
    {%- set known = ['canonical_seed', 'alias_seed', 'accept_broader', 'noise_words'] -%}
    {%- set checked = {} -%}
    {%- for name, entry in var('vocabularies').items() -%}
        {%- set where = 'vocabularies.' ~ name -%}
        {%- for option in entry if option not in known -%}
            {{- trueup.raise_wrong_input(where, 'option', option, known) -}}
        {%- endfor -%}
        {%- for needed in ['canonical_seed', 'alias_seed'] if needed not in entry -%}
            {{- trueup.raise_wrong_input(
                where, 'option ' ~ needed, 'missing', ['the name of a seed']
            ) -}}
        {%- endfor -%}
        {%- for word in entry.get('noise_words', [])
            if not modules.re.match('^[a-z0-9]+$', word) -%}
            {{- trueup.raise_wrong_input(
                where, 'noise word', word, ['one word of the characters a-z and 0-9']
            ) -}}
        {%- endfor -%}
        {%- if entry.get('accept_broader', true) is not boolean -%}
            {{- trueup.raise_wrong_input(
                where, 'accept_broader', entry.accept_broader, ['true', 'false']
            ) -}}
        {%- endif -%}
        {%- do checked.update({name: {
            'name': name,
            'canonical_seed': entry.canonical_seed,
            'alias_seed': entry.alias_seed,
            'accept_broader': entry.get('accept_broader', true),
            'noise_words': entry.get('noise_words', []),
        }}) -%}
    {%- endfor -%}
    {{- return(checked) -}}
{%- endmacro -%}
