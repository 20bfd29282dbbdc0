{#-
    The marts that show managed columns, one entry per mart: {mart, mart_key, table, model, key, tenant, updated_at, columns}.
-#}
{%- macro marts() -%}
    {%- set found = {} -%}
    {%- for entry in managed_columns() if entry.mart -%}
        {%- if entry.mart not in found -%}
            {%- do found.update({entry.mart: {
                'mart': entry.mart, 'mart_key': entry.mart_key, 'table': entry.table, 'model': entry.model,
                'key': entry.key.keys() | first, 'tenant': entry.tenant, 'updated_at': entry.updated_at, 'columns': [],
            }}) -%}
        {%- endif -%}
        {%- do found[entry.mart].columns.append(entry.column) -%}
    {%- endfor -%}
    {{- return(found.values() | list) -}}
{%- endmacro -%}
