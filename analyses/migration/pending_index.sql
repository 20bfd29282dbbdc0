-- Named statements about the partial index of the rows that still need work, one per managed
-- column. trueup never creates or drops an index. `trueup plan` prints how to create this one,
-- `trueup apply` uses it if it exists and prints how to drop it.
{%- for entry in managed_columns() %}
{%- set keys = [] %}
{%- for name in entry.key %}{% do keys.append(quoted(name)) %}{% endfor %}
{#- An index name has up to 63 bytes, of which 9 are for the digest of the values. #}
{%- set prefix = statement_name('trueup_pending', entry) %}
{%- if prefix | length > 54 %}{% set prefix = 'trueup_pending__' ~ local_md5(prefix) %}{% endif %}

-- name: {{ statement_name('pending_index', entry) }}(run_id, row_total, pending_total,
--     least_rows, most_share)
-- canonical_values: the values that the index leaves out, if a batch of this run may rely on it.
-- message, create_statement: if the index would pay and does not exist; the counts are those of the
-- plan, and NULL if no index should be proposed. drop_statements: for the existing indexes,
-- including those for an older vocabulary and incomplete ones.
with vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

canonical_values as (
    select distinct {{ binary_text('vocabulary_keys.canonical_value') }} as canonical_value
    from vocabulary_keys
    where
        vocabulary_keys.vocabulary = {{ literal(entry.vocabulary) }}
        and vocabulary_keys.canonical_value is not null
),

wanted as (
    select
        array_agg(
            canonical_values.canonical_value order by canonical_values.canonical_value
        ) as values_left_out,
        string_agg(
            quote_literal(canonical_values.canonical_value), ', '
            order by canonical_values.canonical_value
        ) as value_list
    from canonical_values
),

named as (
    select
        wanted.*,
        {{ literal(prefix ~ '_') }} || left(md5(wanted.value_list), 8)
            as index_name
    from wanted
),

-- A unique index belongs to the application, whatever its name.
own_indexes as (
    select
        pg_class.relname,
        format('drop index concurrently %I.%I;', pg_namespace.nspname, pg_class.relname)
            as drop_statement,
        pg_index.indisvalid and pg_index.indisready and pg_index.indislive as is_valid
    from pg_catalog.pg_index
    inner join pg_catalog.pg_class on pg_index.indexrelid = pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        pg_index.indrelid = to_regclass({{ literal(application_table(entry)) }})
        and pg_class.relname ~ {{ literal('^' ~ prefix ~ '_[0-9a-f]{8}$') }}
        and pg_index.indpred is not null
        and not pg_index.indisunique
),

judged as (
    select
        named.*,
        -- a run that changes rows from one of these values would not find them with the index
        exists (
            select 1 as found
            from own_indexes
            where
                own_indexes.relname = named.index_name
                and own_indexes.is_valid
        )
        and not exists (
            select 1 as found
            from value_map
            where
                value_map.run_id = cast($1 as uuid)
                and value_map.table_name = {{ literal(entry.table) }}
                and value_map.column_name = {{ literal(entry.column) }}
                and value_map.map_id is not null
                and value_map.value_before = any(named.values_left_out)
        ) as is_usable,
        cast($2 as bigint) > cast($4 as bigint)
        and cast($3 as bigint) between 1 and cast($2 as bigint) * cast($5 as double precision)
        and not exists (
            select 1 as found
            from own_indexes
        )
        -- PostgreSQL cannot create an index of a partitioned table concurrently
        and exists (
            select 1 as found
            from pg_catalog.pg_class
            where
                pg_class.oid = to_regclass({{ literal(application_table(entry)) }})
                and pg_class.relkind = 'r'
        ) as would_pay
    from named
)

select
    case when judged.is_usable then judged.values_left_out end as canonical_values,
    to_char(cast($3 as bigint), 'FM999,999,999,999,990') || ' of '
    || to_char(cast($2 as bigint), 'FM999,999,999,999,990') || ' rows need work: an index of them'
    || ' would spare the batches all other rows. It costs the HOT updates of '
    || {{ literal(entry.column) }} || ' until it is dropped' as message,
    case
        when judged.would_pay
            then
                'create index concurrently ' || judged.index_name
                || {{ literal(' on ' ~ application_table(entry)) }}
                || {{ literal(' (' ~ (keys | join(', ')) ~ ')') }}
                || {{ literal(' where ' ~ binary_text(quoted(entry.column))) }}
                || ' <> all (array[' || judged.value_list || ']);'
    end as create_statement,
    array(
        select own_indexes.drop_statement
        from own_indexes
        order by own_indexes.relname
    ) as drop_statements
from judged;
{%- endfor %}
