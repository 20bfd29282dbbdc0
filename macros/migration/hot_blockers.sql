{#-
    The indexes that an update of the managed column must write to, as the CTEs `pending_digest`,
    `touched`, `indexes`, `containing` and `hot_blockers`; no comma at the end. Each of them costs
    the HOT updates. Needs the CTEs of managed_relation() and update_followers().

    column_name:      SQL of the managed column's name
    canonical_values: SQL of the values that trueup writes, text[]; NULL if they are not known
    hot_blockers: indexrelid, indrelid, qualified, reason (column, generated, trigger), words,
                  is_rule (it has to stay, whatever it costs), refuses (rows with some values),
                  is_countable (the rows that it would refuse can be counted before), is_pending
                  (made for trueup's runs), is_usable (by one)
    hot_blockers('$3', '$4') → pending_digest as (...), ..., hot_blockers as (...)
-#}
{%- macro hot_blockers(column_name, canonical_values) -%}
-- The end of the name of a pending index for these values, as the statement pending_index has it.
pending_digest as (
    select
        left(
            md5(
                string_agg(
                    quote_literal({{ trueup.binary_text('listed.canonical_value') }}), ', '
                    order by {{ trueup.binary_text('listed.canonical_value') }}
                )
            ),
            8
        ) as digest
    from unnest(cast({{ canonical_values }} as text[])) as listed (canonical_value)
),

touched as (
    select
        cast({{ column_name }} as text) as name,
        1 as place,
        'column' as reason,
        'the column' as words,
        '' as why
    union all
    select
        computed.name,
        2 as place,
        'generated' as reason,
        computed.name as words,
        ', and ' || computed.name || ' is generated from it' as why
    from computed
    union all
    select
        set_columns.name,
        3 as place,
        'trigger' as reason,
        set_columns.name as words,
        format(', and trigger %s sets %s', triggers.name, set_columns.name) as why
    from triggers
    cross join lateral unnest(triggers.sets_columns) as set_columns (name)
),

indexes as (
    select
        pg_index.*,
        pg_class.relname,
        pg_am.amname,
        format('%I.%I', pg_namespace.nspname, pg_class.relname) as qualified,
        pg_index.indisunique
        or pg_index.indisreplident
        or pg_constraint.conname is not null as is_rule
    from members
    inner join pg_catalog.pg_index on members.oid = pg_index.indrelid
    inner join pg_catalog.pg_class on pg_index.indexrelid = pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_catalog.pg_am on pg_class.relam = pg_am.oid
    left join pg_catalog.pg_constraint
        on
            pg_index.indexrelid = pg_constraint.conindid
            and pg_index.indrelid = pg_constraint.conrelid
            and pg_constraint.contype in ('p', 'u', 'x')
    where
        pg_index.indislive
        -- summarizing indexes no longer stand in the way
        and not (
            pg_am.amname = 'brin'
            and cast(current_setting('server_version_num') as integer) >= 160000
        )
),

containing as (
    select
        indexes.indexrelid,
        touched.place,
        touched.name,
        touched.reason,
        touched.words,
        touched.why,
        -- int2vector counts from 0; the server's node trees name a column, or 0 for the whole row
        case
            when
                array_position(cast(indexes.indkey as int2[]), pg_attribute.attnum)
                < indexes.indnkeyatts then 'key'
            when
                array_position(cast(indexes.indkey as int2[]), pg_attribute.attnum) is not null
                then 'included columns'
            when
                cast(indexes.indexprs as text)
                ~ (':varattno (0|' || pg_attribute.attnum || ') ') then 'expression'
            when
                cast(indexes.indpred as text)
                ~ (':varattno (0|' || pg_attribute.attnum || ') ') then 'predicate'
        end as role
    from indexes
    inner join pg_catalog.pg_attribute
        on indexes.indrelid = pg_attribute.attrelid and not pg_attribute.attisdropped
    inner join touched on pg_attribute.attname = touched.name
),

first_containing as (
    select
        containing.*,
        count(*) over (partition by containing.indexrelid) as reason_count,
        row_number() over (
            partition by containing.indexrelid
            order by containing.place, containing.name, containing.why
        ) as number
    from containing
    where containing.role is not null
),

hot_blockers as (
    select
        indexes.indexrelid,
        indexes.indrelid,
        indexes.qualified,
        indexes.is_rule,
        first_containing.reason,
        format(
            'index %s (%s, %s) contains %s in its %s%s',
            indexes.qualified,
            indexes.amname,
            pg_size_pretty(pg_relation_size(indexes.indexrelid)),
            first_containing.words,
            first_containing.role,
            first_containing.why
        ) as words,
        (indexes.indisunique or indexes.indisexclusion)
        and first_containing.role <> 'included columns' as refuses,
        indexes.indisunique
        and first_containing.reason = 'column'
        and first_containing.reason_count = 1
        and concat(cast(indexes.indexprs as text), cast(indexes.indpred as text))
        not like '%:varattno 0 %' as is_countable,
        starts_with(indexes.relname, 'trueup_pending__') as is_pending,
        indexes.indisvalid
        and indexes.indisready
        and coalesce(right(indexes.relname, 8) = pending_digest.digest, true) as is_usable
    from first_containing
    inner join indexes on first_containing.indexrelid = indexes.indexrelid
    cross join pending_digest
    where first_containing.number = 1
)
{%- endmacro -%}
