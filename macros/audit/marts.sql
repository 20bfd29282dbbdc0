{#-
    The marts that show managed columns, one entry per mart: {mart, mart_key, table, model, key,
    tenant, updated_at}; key is the column of the table, mart_key the column of the mart.
-#}
{%- macro marts() -%}
    {%- set found = {} -%}
    {%- for entry in trueup.managed_columns() if entry.mart -%}
        {%- if entry.mart not in found -%}
            {%- do found.update({entry.mart: {
                'mart': entry.mart,
                'mart_key': entry.mart_key,
                'table': entry.table,
                'model': entry.model,
                'key': entry.key.keys() | first,
                'tenant': entry.tenant,
                'updated_at': entry.updated_at,
            }}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(found.values() | list) -}}
{%- endmacro -%}
