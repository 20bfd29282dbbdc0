{#-
    The name of an application's table or column in SQL: without quotes if possible, else in double
    quotes.
    quoted('stage')   → stage
    quoted('My "x"')  → "My ""x"""
    quoted('order')   → "order"
    Quoted are also the words that PostgreSQL does not accept as the name of a column or a table.
-#}
{%- macro quoted(name) -%}
    {%- set reserved = [
        'all', 'analyse', 'analyze', 'and', 'any', 'array', 'as', 'asc', 'asymmetric',
        'authorization', 'binary', 'both', 'case', 'cast', 'check', 'collate', 'collation',
        'column', 'concurrently', 'constraint', 'create', 'cross', 'current_catalog',
        'current_date', 'current_role', 'current_schema', 'current_time', 'current_timestamp',
        'current_user', 'default', 'deferrable', 'desc', 'distinct', 'do', 'else', 'end', 'except',
        'false', 'fetch', 'for', 'foreign', 'freeze', 'from', 'full', 'grant', 'group', 'having',
        'ilike', 'in', 'initially', 'inner', 'intersect', 'into', 'is', 'isnull', 'join',
        'lateral', 'leading', 'left', 'like', 'limit', 'localtime', 'localtimestamp', 'natural',
        'not', 'notnull', 'null', 'offset', 'on', 'only', 'or', 'order', 'outer', 'overlaps',
        'placing', 'primary', 'references', 'returning', 'right', 'select', 'session_user',
        'similar', 'some', 'symmetric', 'system_user', 'table', 'tablesample', 'then', 'to',
        'trailing', 'true', 'union', 'unique', 'user', 'using', 'variadic', 'verbose', 'when',
        'where', 'window', 'with',
    ] -%}
    {%- if modules.re.match('[a-z_][a-z0-9_]*\\Z', name) and name not in reserved -%}
        {{- name -}}
    {%- else -%}
        {{- '"' ~ name | replace('"', '""') ~ '"' -}}
    {%- endif -%}
{%- endmacro -%}
