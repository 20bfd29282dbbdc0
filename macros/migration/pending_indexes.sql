{#-
    The partial index of the rows of a managed column that still need work, and those that are
    there, as CTEs; no comma at the end.

    wanted:      one row: values_left_out (canonical, text[]), value_list (SQL of the same), the
                 name that an index for these values has: its end is a digest of value_list
    own_indexes: relname, drop_statement, is_valid; of this column, also for an older vocabulary and
                 incomplete. A unique index belongs to the application, whatever its name.
    pending_indexes(entry) → vocabulary_keys as (...), ..., own_indexes as (...)
-#}
{%- macro pending_indexes(entry) -%}
{#- An index name has up to 63 bytes, of which 9 are for the digest of the values. -#}
{%- set prefix = trueup.statement_name('trueup_pending', entry) -%}
{%- if prefix | length > 54 -%}
    {%- set prefix = 'trueup_pending__' ~ local_md5(prefix) -%}
{%- endif -%}
vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

canonical_values as (
    select distinct {{ trueup.binary_text('vocabulary_keys.canonical_value') }} as canonical_value
    from vocabulary_keys
    where
        vocabulary_keys.vocabulary = {{ trueup.literal(entry.vocabulary) }}
        and vocabulary_keys.canonical_value is not null
),

value_lists as (
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

wanted as (
    select
        value_lists.*,
        {{ trueup.literal(prefix ~ '_') }}
        || left(md5(value_lists.value_list), 8) as index_name
    from value_lists
),

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
        pg_index.indrelid = to_regclass({{ trueup.literal(trueup.application_table(entry)) }})
        and pg_class.relname ~ {{ trueup.literal('^' ~ prefix ~ '_[0-9a-f]{8}$') }}
        and pg_index.indpred is not null
        and not pg_index.indisunique
)
{%- endmacro -%}
