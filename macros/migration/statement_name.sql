{#-
    The name of a managed column's own statement; letters, digits and underscores only.
    statement_name('apply_batch', {'table': 'investments', 'column': 'round'}) →
        apply_batch__investments__round
-#}
{%- macro statement_name(purpose, entry) -%}
    {{- purpose }}__{{ modules.re.sub('[^a-zA-Z0-9_]', '_', entry.table) -}}
    __{{- modules.re.sub('[^a-zA-Z0-9_]', '_', entry.column) -}}
{%- endmacro -%}
