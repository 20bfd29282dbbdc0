{#-
    The entries of the vars managed_<kind> and, with sample: true, sample_<kind>, checked.
    managed_columns() and managed_documents() describe an entry. The application's names may be any
    that PostgreSQL allows. Called while parsing, so a wrong entry stops `dbt parse`; a column that
    the staging model does not have is found when parsing ends, before any SQL runs.
-#}
{%- macro managed_entries(kind) -%}
    {%- set known = [
        'table', 'column', 'key', 'tenant', 'vocabulary', 'updated_at', 'kept_by_triggers', 'mart',
        'mart_key', 'model', 'tenant_label', 'guard'
    ] -%}
    {%- set key_types = [
        'smallint', 'integer', 'bigint', 'numeric', 'uuid', 'text', 'varchar', 'date', 'timestamptz'
    ] -%}
    {%- set vocabulary_names = trueup.vocabularies().keys() | list -%}
    {%- set entries = [] -%}
    {%- if var('sample') is not boolean -%}
        {{- trueup.raise_wrong_input('vars', 'sample', var('sample'), ['true', 'false']) -}}
    {%- endif -%}
    {%- for variable in ['managed_' ~ kind] + ['sample_' ~ kind] * var('sample') -%}
    {%- for entry in var(variable) -%}
        {%- set cell = entry.get('table', '?') ~ '.' ~ entry.get('column', '?') -%}
        {%- set where = variable ~ ' entry ' ~ loop.index ~ ' (' ~ cell ~ ')' -%}
        {%- for option in entry if option not in known -%}
            {{- trueup.raise_wrong_input(where, 'option', option, known) -}}
        {%- endfor -%}
        {%- for needed in ['table', 'column', 'key', 'vocabulary'] if needed not in entry -%}
            {{- trueup.raise_wrong_input(where, 'option ' ~ needed, 'missing', ['a value']) -}}
        {%- endfor -%}
        {%- if entry.key is not mapping or not entry.key -%}
            {{- trueup.raise_wrong_input(
                where, 'key', entry.key, ['column: type, for example {id: bigint}']
            ) -}}
        {%- endif -%}
        {%- if entry.get('mart') and (not entry.get('mart_key') or (entry.key | length) != 1) -%}
            {{- trueup.raise_wrong_input(
                where, 'mart', entry.mart,
                ['a mart with mart_key, of a table with a key of one column']
            ) -}}
        {%- endif -%}
        {%- set kept = entry.get('kept_by_triggers') or [] -%}
        {%- if kept is string or kept is mapping or kept is not iterable -%}
            {{- trueup.raise_wrong_input(
                where, 'kept_by_triggers', kept, ['a list of columns, for example [row_version]']
            ) -}}
        {%- endif -%}
        {#- YAML reads a plain null as none -#}
        {%- set guard = {'null': 'allow', 'blank': 'refuse'} -%}
        {%- for option, policy in (entry.get('guard') or {}).items() -%}
            {%- set option = 'null' if option is none else option -%}
            {%- if option not in guard -%}
                {{- trueup.raise_wrong_input(where, 'guard', option, ['null', 'blank']) -}}
            {%- elif policy not in ['allow', 'refuse'] -%}
                {{- trueup.raise_wrong_input(
                    where, 'guard.' ~ option, policy, ['allow', 'refuse']
                ) -}}
            {%- endif -%}
            {%- do guard.update({option: policy}) -%}
        {%- endfor -%}
        {%- if entry.vocabulary not in vocabulary_names -%}
            {{- trueup.raise_wrong_input(
                where, 'vocabulary', entry.vocabulary, vocabulary_names
            ) -}}
        {%- endif -%}
        {%- set key = {} -%}
        {%- for column, type in entry.key.items() -%}
            {#- varchar(36) is handled as text, numeric(20) as numeric -#}
            {%- set known_type = modules.re.sub('\\([0-9]+(, *0)?\\)\\Z', '', type | string) -%}
            {%- if known_type not in key_types -%}
                {{- trueup.raise_wrong_input(where, 'type of key ' ~ column, type, key_types) -}}
            {%- endif -%}
            {%- do key.update({column: 'text' if known_type == 'varchar' else known_type}) -%}
        {%- endfor -%}
        {%- set optional = [entry.get('tenant'), entry.get('updated_at')] | select | list -%}
        {%- set columns = [entry.column] + optional + entry.key.keys() | list -%}
        {#- PostgreSQL would cut a longer name; a line break would end a comment in compiled SQL -#}
        {%- for name in [entry.table, entry.get('tenant_label', 'tenant')] + columns
            if name is not string
            or not modules.re.match('[^\\x00-\\x1f\\x7f]+\\Z', name)
            or name.encode('utf-8') | length > 63 -%}
            {{- trueup.raise_wrong_input(
                where, 'name', name, ['1 to 63 bytes, no control characters']
            ) -}}
        {%- endfor -%}
        {%- set model_name = entry.get('model', 'stg_app__' ~ entry.table) -%}
        {%- set ours = [['model', model_name]] -%}
        {%- if entry.get('mart') -%}
            {%- set ours = ours + [['mart', entry.mart], ['mart_key', entry.mart_key]] -%}
        {%- endif -%}
        {%- for option, name in ours if not modules.re.match('[a-z_][a-z0-9_]*\\Z', name) -%}
            {{- trueup.raise_wrong_input(where, option, name, ['lower-case snake names']) -}}
        {%- endfor -%}
        {%- for other in entries
            if other.table == entry.table and other.column == entry.column -%}
            {{- trueup.raise_wrong_input(
                where, 'column', entry.column, ['one entry per column']
            ) -}}
        {%- endfor -%}
        {{- trueup._check_staged(where, model_name, columns) -}}
        {%- do entries.append({
            'table': entry.table,
            'column': entry.column,
            'key': key,
            'vocabulary': entry.vocabulary,
            'tenant': entry.get('tenant'),
            'updated_at': entry.get('updated_at'),
            'kept_by_triggers': kept | list,
            'mart': entry.get('mart'),
            'mart_key': entry.get('mart_key'),
            'model': model_name,
            'guard': guard,
            'tenant_label': entry.get('tenant_label') or trueup.tenant_label(entry.get('tenant')),
        }) -%}
    {%- endfor -%}
    {%- endfor -%}
    {{- return(entries) -}}
{%- endmacro -%}

{#-
    If the staging model's YAML lists its columns, only these can be managed. They are known
    only when the whole project is parsed.
-#}
{%- macro _check_staged(where, model_name, columns) -%}
    {%- if execute -%}
        {%- set staged = namespace(columns=[]) -%}
        {%- for node in graph.nodes.values()
            if node.resource_type == 'model' and node.name == model_name -%}
            {%- set staged.columns = node.columns.keys() | list -%}
        {%- endfor -%}
        {%- if staged.columns -%}
            {%- for column in columns if column not in staged.columns -%}
                {{- trueup.raise_wrong_input(where, 'column', column, staged.columns) -}}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
