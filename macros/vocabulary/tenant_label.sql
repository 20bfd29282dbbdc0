{#-
    The word for a tenant in messages, if an entry of managed_columns() has no tenant_label: the
    name of the tenant's column without _id.
    tenant_label('fund_id') → fund; tenant_label(none) → tenant
-#}
{%- macro tenant_label(tenant) -%}
    {%- set words = modules.re.sub('_id\\Z', '', tenant or '') | replace('_', ' ') | trim -%}
    {{- return(words or 'tenant') -}}
{%- endmacro -%}
