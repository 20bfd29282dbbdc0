-- Named statements about the partial index of the rows that still need work, two per managed
-- column. trueup never creates or drops an index. `trueup plan` prints how to create this one,
-- `trueup apply` uses it if it exists and prints how to drop it.
{%- for entry in managed_columns() %}
{%- set keys = [] %}
{%- for name in entry.key %}{% do keys.append(quoted(name)) %}{% endfor %}

-- name: {{ statement_name('pending_index', entry) }}(run_id)
-- canonical_values: the values that the index leaves out, if a batch of this run may rely on it.
-- drop_statements: for the existing indexes, including those for an older vocabulary and
-- incomplete ones.
with {{ pending_indexes(entry) }},

value_map as (
    select * from {{ ref('migration_value_map') }}
)

select
    case
        when
            exists (
                select 1 as found
                from own_indexes
                where
                    own_indexes.relname = wanted.index_name
                    and own_indexes.is_valid
            )
            -- a run that changes rows from one of these values would not find them with the index
            and not exists (
                select 1 as found
                from value_map
                where
                    value_map.run_id = cast($1 as uuid)
                    and value_map.table_name = {{ literal(entry.table) }}
                    and value_map.column_name = {{ literal(entry.column) }}
                    and value_map.map_id is not null
                    and value_map.value_before = any(wanted.values_left_out)
            )
            then wanted.values_left_out
    end as canonical_values,
    array(
        select own_indexes.drop_statement
        from own_indexes
        order by own_indexes.relname
    ) as drop_statements
from wanted;

-- name: {{ statement_name('proposed_index', entry) }}(row_total, pending_total, least_rows,
--     most_share)
-- A finding with the statement that creates the index, if the index would pay and does not exist.
-- The counts are those of the plan.
with {{ pending_indexes(entry) }},

judged as (
    select
        'table__index_pays' as code,
        'info' as status,
        {{ literal(entry.table ~ '.' ~ entry.column) }} as subject,
        array[
            to_char(cast($2 as bigint), 'FM999,999,999,999,990'),
            to_char(cast($1 as bigint), 'FM999,999,999,999,990'),
            {{ literal(entry.column) }},
            'create index concurrently ' || wanted.index_name
            || {{ literal(' on ' ~ application_table(entry)) }}
            || {{ literal(' (' ~ (keys | join(', ')) ~ ')') }}
            || {{ literal(' where ' ~ binary_text(quoted(entry.column))) }}
            || ' <> all (array[' || wanted.value_list || ']);'
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast($2 as bigint) as rows,
        cast(null as jsonb) as sample
    from wanted
    where
        cast($1 as bigint) > cast($3 as bigint)
        and cast($2 as bigint) between 1 and cast($1 as bigint) * cast($4 as double precision)
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
        )
),

{{ finding_rows('table', table_words() | selectattr(0, 'equalto', 'table__index_pays')) }}

select * from final;
{%- endfor %}
