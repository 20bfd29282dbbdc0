{#-
    The table that a statement looks at, as the CTEs `managed` and `members`; no comma at the end.
    Names are compared as text, so that none needs quoting and none is cut at 63 bytes.

    schema_name, table_name: SQL of text, such as parameters
    managed: one row, none if there is no such relation: oid, relkind, relnamespace, relowner, kind
             (table, view, ...), qualified, schema_quoted
    members: the relations that hold the rows: the leaves of a partitioned table, otherwise itself
    managed_relation('$1', '$2') → managed as (...), members as (...)
-#}
{%- macro managed_relation(schema_name, table_name) -%}
managed as (
    select
        pg_class.oid,
        pg_class.relkind,
        pg_class.relnamespace,
        pg_class.relowner,
        case pg_class.relkind
            when 'r' then 'table'
            when 'p' then 'partitioned table'
            when 'v' then 'view'
            when 'm' then 'materialized view'
            when 'f' then 'foreign table'
            when 'S' then 'sequence'
            when 'c' then 'composite type'
            else 'index'
        end as kind,
        format('%I.%I', pg_namespace.nspname, pg_class.relname) as qualified,
        quote_ident(pg_namespace.nspname) as schema_quoted
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        pg_namespace.nspname = cast({{ schema_name }} as text)
        and pg_class.relname = cast({{ table_name }} as text)
),

members as (
    select tree.relid as oid
    from managed
    cross join lateral pg_partition_tree(managed.oid) as tree
    where managed.relkind = 'p' and tree.isleaf
    union all
    select managed.oid
    from managed
    where managed.relkind <> 'p'
)
{%- endmacro -%}
