{#-
    The triggers and generated columns that follow an update of the managed column, as the CTEs
    `all_triggers`, `triggers` and `computed`; no comma at the end. Needs the CTEs of
    managed_relation().

    column_name: SQL of the managed column's name
    triggers: of those that fire for `update ... set column_name`: name, function, timing (before,
              after, instead of), is_row, sets_columns. Statement triggers of the table itself, row
              triggers of the relations that hold the rows: a partition has copies of its parents'.
    computed: the columns that are generated from the managed one: name
    update_followers('$3') → all_triggers as (...), triggers as (...), computed as (...)
-#}
{%- macro update_followers(column_name) -%}
all_triggers as (
    select
        pg_trigger.tgname,
        pg_trigger.tgrelid,
        pg_trigger.tgtype & 1 > 0 as is_row,
        pg_trigger.tgtype & 2 > 0 as is_before,
        pg_trigger.tgtype & 64 > 0 as is_instead,
        format('%I.%I', pg_namespace.nspname, pg_proc.proname) as function,
        lower(pg_proc.prosrc) as source
    from pg_catalog.pg_trigger
    inner join pg_catalog.pg_attribute
        on
            pg_trigger.tgrelid = pg_attribute.attrelid
            and pg_attribute.attname = cast({{ column_name }} as text)
            and not pg_attribute.attisdropped
    inner join pg_catalog.pg_proc on pg_trigger.tgfoid = pg_proc.oid
    inner join pg_catalog.pg_namespace on pg_proc.pronamespace = pg_namespace.oid
    where
        not pg_trigger.tgisinternal
        and pg_trigger.tgenabled in ('O', 'A')
        and pg_trigger.tgtype & 16 > 0
        and not {{ trueup.is_guard_trigger() | indent(8) }}
        and (
            cardinality(cast(pg_trigger.tgattr as int2[])) = 0
            or pg_attribute.attnum = any(cast(pg_trigger.tgattr as int2[]))
        )
        and case
            when pg_trigger.tgtype & 1 > 0
                then pg_trigger.tgrelid in (select members.oid from members)
            else pg_trigger.tgrelid in (select managed.oid from managed)
        end
),

triggers as (
    select distinct
        all_triggers.function,
        all_triggers.is_row,
        quote_ident(all_triggers.tgname) as name,
        case
            when all_triggers.is_before then 'before'
            when all_triggers.is_instead then 'instead of'
            else 'after'
        end as timing,
        -- Other columns that the function's text visibly sets; only a rehearsal finds changes by C,
        -- dynamic SQL or other functions.
        array(
            select cast(pg_attribute.attname as text)
            from pg_catalog.pg_attribute
            where
                pg_attribute.attrelid = all_triggers.tgrelid
                and pg_attribute.attnum > 0
                and not pg_attribute.attisdropped
                and pg_attribute.attname <> cast({{ column_name }} as text)
                and pg_attribute.attname ~ '^[a-z_][a-z0-9_]*$'
                and all_triggers.is_before
                and all_triggers.is_row
                and all_triggers.source ~ (
                    '(\mnew\."?' || pg_attribute.attname || '"?\s*:=)'
                    || '|((^|;|\mbegin|\mthen|\melse)\s*new\."?'
                    || pg_attribute.attname || '"?\s*=)'
                )
            order by pg_attribute.attnum
        ) as sets_columns
    from all_triggers
),

-- A generated column depends on what it is computed from; the server records this for the
-- expression or for the column, depending on its version.
computed as (
    select distinct cast(generated.attname as text) as name
    from managed
    inner join pg_catalog.pg_attribute as source_columns
        on
            managed.oid = source_columns.attrelid
            and source_columns.attname = cast({{ column_name }} as text)
    inner join pg_catalog.pg_depend
        on
            pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
            and source_columns.attrelid = pg_depend.refobjid
            and source_columns.attnum = pg_depend.refobjsubid
    left join pg_catalog.pg_attrdef
        on
            pg_depend.classid = cast('pg_catalog.pg_attrdef' as regclass)
            and pg_depend.objid = pg_attrdef.oid
    inner join pg_catalog.pg_attribute as generated
        on
            source_columns.attrelid = generated.attrelid
            and generated.attgenerated <> ''
            and source_columns.attnum <> generated.attnum
            and (
                pg_attrdef.adnum = generated.attnum
                or (
                    pg_depend.classid = cast('pg_catalog.pg_class' as regclass)
                    and source_columns.attrelid = pg_depend.objid
                    and pg_depend.objsubid = generated.attnum
                )
            )
)
{%- endmacro -%}
