{#-
    Incremental strategy `merge_changed`: merges the computed rows into the target and writes only
    rows that differ. A run that finds no change writes 0 rows (dbt's own merge rewrites
    every matched row).

    Needs unique_key. If the model's config.meta names `complete_keys`, target rows whose key no
    longer exists are deleted in the same transaction:
        complete_keys: {model: stg_app__investments, key: id}   that model's rows are all there is
        complete_keys: this_run                                 the run computed all rows there are
        complete_keys: changed_rows                             the macro changed_rows found them in
                                                                its pass: rows with a key only
    Columns in config merge_exclude_columns are written on insert only and never count as a
    difference.
    Traps: key columns must not be NULL (a NULL never matches and would be inserted again at every
    run); with changed_rows a column besides the key must be not_null, else a row with only NULLs
    would look like a deleted one; a `json` column cannot be compared (use jsonb); the subquery that
    --empty puts in place of a ref cannot have an alias, hence render().
-#}
{%- macro get_incremental_merge_changed_sql(arg_dict) -%}
    {%- set complete_keys = config.get('meta', {}).get('complete_keys') -%}
    {%- set unique_key =
        [arg_dict.unique_key] if arg_dict.unique_key is string else arg_dict.unique_key -%}
    {%- if complete_keys == 'changed_rows' -%}
        {%- set not_null = [] -%}
        {%- for column in model.columns.values() if column.name not in unique_key -%}
            {%- for constraint in column.constraints if constraint.type == 'not_null' -%}
                {%- do not_null.append(column.name) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if not not_null -%}
            {{- trueup.raise_wrong_input(
                model.name, 'complete_keys', complete_keys,
                ['a constraint not_null on a column besides the key']
            ) -}}
        {%- endif -%}
    {%- endif -%}
    {{- return(trueup.merge_changed(
        arg_dict.target_relation,
        arg_dict.temp_relation,
        unique_key,
        arg_dict.dest_columns | map(attribute='name') | list,
        config.get('merge_exclude_columns') or [],
        complete_keys
    )) -}}
{%- endmacro -%}

{%- macro merge_changed(target, source, unique_key, columns, insert_only=[], complete_keys=none) -%}
{%- if not unique_key -%}
    {{- trueup.raise_wrong_input(
        'merge_changed', 'unique_key', 'missing', ['one or several columns']
    ) -}}
{%- endif -%}
{%- for column in unique_key if column not in columns -%}
    {{- trueup.raise_wrong_input('merge_changed', 'unique_key', column, columns) -}}
{%- endfor -%}
{%- set compared = columns | reject('in', unique_key + insert_only) | list -%}
merge into {{ target }} as target
using {{ source }} as computed
    on (
        {%- for column in unique_key %}
        {{ 'and ' if not loop.first }}target.{{ column }} = computed.{{ column }}
        {%- endfor %}
    )
{%- if complete_keys == 'changed_rows' %}
-- nothing but a key: the row has left the source
when matched
    and (
        computed.{{ columns | reject('in', unique_key) | join(',\n        computed.') }}
    ) is null
then delete
{%- endif %}
{%- if compared %}
when matched
    and (
        {%- for column in compared %}
        {{ 'or ' if not loop.first }}target.{{ column }} is distinct from computed.{{ column }}
        {%- endfor %}
    )
then update set
    {%- for column in compared %}
    {{ column }} = computed.{{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endif %}
when not matched then insert (
    {{ columns | join(',\n    ') }}
) values (
    computed.{{ columns | join(',\n    computed.') }}
)
{%- if complete_keys and complete_keys != 'changed_rows' -%}
;
{% if complete_keys is string and complete_keys == 'this_run' %}
delete from {{ target }} as target
where not exists (
    select 1 from {{ source }} as computed
    where
        {%- for column in unique_key %}
        {{ 'and ' if not loop.first }}computed.{{ column }} = target.{{ column }}
        {%- endfor %}
)
{%- elif complete_keys is mapping and complete_keys.get('model') and complete_keys.get('key')
    and (unique_key | length) == 1 %}
delete from {{ target }} as target
where not exists (
    select 1 from {{ ref(complete_keys.model).render() }} as source_rows
    where source_rows.{{ complete_keys.key }} = target.{{ unique_key[0] }}
)
{%- else -%}
    {{- trueup.raise_wrong_input(
        'merge_changed', 'complete_keys', complete_keys,
        ['this_run', '{model: name, key: column}', 'changed_rows']
    ) -}}
{%- endif %}
{%- endif %}
{%- endmacro -%}
