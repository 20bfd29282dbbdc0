{#-
    How large the relations in the CTE `members` are, as the CTEs `storage` and `table_size`; no
    comma at the end.

    column_name: SQL of the managed column's name
    storage:    per member: oid, qualified, relreplident, bytes (with indexes), is_unanalyzed (has
                rows and no statistics), estimated_rows (as the planner would; NULL if unknown)
    table_size: one row: bytes, estimated_rows
    table_size('$3') → storage as (...), table_size as (...)
-#}
{%- macro table_size(column_name) -%}
storage as (
    select
        members.oid,
        pg_class.relreplident,
        format('%I.%I', pg_namespace.nspname, pg_class.relname) as qualified,
        pg_total_relation_size(pg_class.oid) as bytes,
        pg_relation_size(pg_class.oid) > 0
        and greatest(tables.last_analyze, tables.last_autoanalyze) is null
        and statistics.attname is null as is_unanalyzed,
        -- As the planner does it: rows per page at the last analyze or vacuum, times the present
        -- pages.
        case
            when pg_class.reltuples < 0 and pg_relation_size(pg_class.oid) > 0 then null
            when pg_class.relpages = 0 then greatest(pg_class.reltuples, 0)
            else
                pg_class.reltuples / pg_class.relpages
                * (
                    pg_relation_size(pg_class.oid)
                    / cast(current_setting('block_size') as integer)
                )
        end as estimated_rows
    from members
    inner join pg_catalog.pg_class on members.oid = pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    left join pg_catalog.pg_stat_all_tables as tables on pg_class.oid = tables.relid
    left join pg_catalog.pg_stats as statistics
        on
            pg_namespace.nspname = statistics.schemaname
            and pg_class.relname = statistics.tablename
            and statistics.attname = cast({{ column_name }} as text)
            and not statistics.inherited
),

table_size as (
    select
        cast(coalesce(sum(storage.bytes), 0) as bigint) as bytes,
        case
            when bool_and(storage.estimated_rows is not null)
                then cast(sum(storage.estimated_rows) as bigint)
        end as estimated_rows
    from storage
)
{%- endmacro -%}
