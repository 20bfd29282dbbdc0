{#-
    Is a row of migration_audit one of this table? A condition.
    of_target({'table': 'app_orgs'}, 'images') →
        images.schema_name = 'public' and images.table_name = 'app_orgs'
-#}
{%- macro of_target(target, images) -%}
{{ images }}.schema_name = {{ trueup.literal(target.get('schema') or var('app_schema', 'public')) }}
and {{ images }}.table_name = {{ trueup.literal(target.table) }}
{%- endmacro -%}
