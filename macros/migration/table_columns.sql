{#-
    The columns of the relation in the CTE `managed`, as the CTEs `types`, `domains` and `columns`;
    no comma at the end. For a statement that begins `with recursive`.

    columns: attnum, name, quoted, type, base (the type below its domains; enum for any enum),
             max_length (characters), is_domain, domain_checks, collation, is_deterministic,
             generated (stored, virtual)
    table_columns() → types as (...), domains as (...), columns as (...)
-#}
{%- macro table_columns() -%}
types as (
    select
        pg_attribute.attnum,
        pg_attribute.atttypid as type_oid,
        pg_attribute.atttypmod as typmod
    from managed
    inner join pg_catalog.pg_attribute
        on
            managed.oid = pg_attribute.attrelid
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
    union all
    -- A domain is based on another type, which may itself be a domain.
    select
        types.attnum,
        pg_type.typbasetype as type_oid,
        pg_type.typtypmod as typmod
    from types
    inner join pg_catalog.pg_type on types.type_oid = pg_type.oid
    where pg_type.typtype = 'd'
),

domains as (
    select
        types.attnum,
        array_agg(quote_ident(pg_constraint.conname) order by pg_constraint.conname) as checks
    from types
    inner join pg_catalog.pg_constraint
        on types.type_oid = pg_constraint.contypid and pg_constraint.contype = 'c'
    group by types.attnum
),

columns as (
    select
        pg_attribute.attnum,
        cast(pg_attribute.attname as text) as name,
        pg_collation.collname as collation,
        quote_ident(pg_attribute.attname) as quoted,
        format_type(pg_attribute.atttypid, pg_attribute.atttypmod) as type,
        case when base_type.typtype = 'e' then 'enum' else base_type.typname end as base,
        case
            when base_type.typname in ('varchar', 'bpchar') and types.typmod > 4
                then types.typmod - 4
        end as max_length,
        own_type.typtype = 'd' as is_domain,
        coalesce(domains.checks, '{}') as domain_checks,
        coalesce(pg_collation.collisdeterministic, true) as is_deterministic,
        case pg_attribute.attgenerated
            when 's' then 'stored'
            when 'v' then 'virtual'
        end as generated
    from managed
    inner join pg_catalog.pg_attribute on managed.oid = pg_attribute.attrelid
    inner join types on pg_attribute.attnum = types.attnum
    inner join pg_catalog.pg_type as base_type
        on types.type_oid = base_type.oid and base_type.typtype <> 'd'
    inner join pg_catalog.pg_type as own_type on pg_attribute.atttypid = own_type.oid
    left join pg_catalog.pg_collation on pg_attribute.attcollation = pg_collation.oid
    left join domains on pg_attribute.attnum = domains.attnum
)
{%- endmacro -%}
