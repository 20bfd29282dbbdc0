{#-
    The name of a managed column's statement: letters, digits and underscores. Names with other
    characters get a digest, so that no two columns share a statement: `a-b` and `a_b`, or a.b__c
    and a__b.c.
    statement_name('apply_batch', {'table': 'investments', 'column': 'round'}) →
        apply_batch__investments__round
    statement_name('apply_batch', {'table': 'Order', 'column': 'round'}) →
        apply_batch__rder_a240fa27__round
-#}
{%- macro statement_name(purpose, entry) -%}
    {{- purpose }}__{{ trueup._name_part(entry.table) }}__{{ trueup._name_part(entry.column) -}}
{%- endmacro -%}

{%- macro _name_part(name) -%}
    {%- if modules.re.match('[a-z0-9]+(_[a-z0-9]+)*\\Z', name) -%}
        {{- name -}}
    {%- else -%}
        {%- set words = modules.re.sub('[^a-z0-9]+', ' ', name).split() -%}
        {{- (words + [local_md5(name)[:8]]) | join('_') -}}
    {%- endif -%}
{%- endmacro -%}
