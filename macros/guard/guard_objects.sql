{#-
    The triggers and constraints that the guard has on a column, as an expression: an array of
    texts, in their order. What PostgreSQL prints of each, and whether it is in force.
    guard_objects('scopes') → (with objects as ... select ...)

    scopes: a relation with scope, schema_name, table_name and column_name
-#}
{%- macro guard_objects(scopes) -%}
{%- set table = "to_regclass(format('%I.%I', " ~ scopes ~ ".schema_name, " ~ scopes
    ~ ".table_name))" -%}
(
    with objects as (
        select
            cast(pg_trigger.tgname as text) as name,
            pg_get_triggerdef(pg_trigger.oid)
            || case when pg_trigger.tgenabled = 'A' then '' else ', not enabled always' end
                as definition
        from pg_catalog.pg_trigger
        where
            {{ table }}
            = pg_trigger.tgrelid
            and not pg_trigger.tgisinternal
            and starts_with(cast(pg_trigger.tgname as text), 'zz_trueup_')
            and pg_trigger.tgargs
            = convert_to({{ scopes }}.scope, 'UTF8') || cast('\x00' as bytea)
        union all
        select
            cast(pg_constraint.conname as text) as name,
            pg_constraint.conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
                as definition
        from pg_catalog.pg_constraint
        where
            {{ table }}
            = pg_constraint.conrelid
            and pg_constraint.contype = 'c'
            and starts_with(
                cast(pg_constraint.conname as text),
                {{ trueup.guard_name(scopes ~ '.column_name') | indent(16) }} || '_sealed_'
            )
    )

    select coalesce(array_agg(objects.definition order by objects.name), '{}') as found
    from objects
)
{%- endmacro -%}
