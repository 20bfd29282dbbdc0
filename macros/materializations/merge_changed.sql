{#-
    Incremental strategy `merge_changed`: what the run computed goes into the target, and only rows
    that differ are written. A run that finds no change writes 0 rows (dbt's own merge rewrites
    every matched row).

    Needs unique_key. Where the model's config.meta names `complete_keys`, target rows whose key is
    not there any more are deleted in the same transaction:
        complete_keys: {model: stg_app__investments, key: id}   that model's rows are all there is
        complete_keys: this_run                                 the run computed all rows there are
    Columns in config merge_exclude_columns are written on insert only and never count as a
    difference.
    Traps: key columns must not be NULL (a NULL never matches and would be inserted
    again at every run); a `json` column cannot be compared (use jsonb); what --empty puts in place
    of a ref cannot have an alias, hence render().
-#}
{%- macro get_incremental_merge_changed_sql(arg_dict) -%}
    {{- return(trueup.merge_changed(
        arg_dict.target_relation,
        arg_dict.temp_relation,
        [arg_dict.unique_key] if arg_dict.unique_key is string else arg_dict.unique_key,
        arg_dict.dest_columns | map(attribute='name') | list,
        config.get('merge_exclude_columns') or [],
        config.get('meta', {}).get('complete_keys')
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
{%- if complete_keys -%}
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
        'merge_changed', 'complete_keys', complete_keys, ['this_run', '{model: name, key: column}']
    ) -}}
{%- endif %}
{%- endif %}
{%- endmacro -%}
