-- Named statements of `trueup plan`: planned rows that a unique index or a foreign key will refuse.
-- An index may be on expressions, which only the catalog knows. So each statement answers with SQL
-- texts to run next, one for each rule; `/* ... */` in them is replaced by what the catalog says.
{%- for entry in managed_columns() %}
{%- set column = quoted(entry.column) %}
{%- set subject = literal(entry.table ~ '.' ~ entry.column) %}
{%- set later_rows %}
with planned_values as (
    select
        value_map.value_before,
        value_map.value_after
    from {{ ref('migration_value_map') }} as value_map
    where
        value_map.run_id = $1
        and value_map.table_name = {{ literal(entry.table) }}
        and value_map.column_name = {{ literal(entry.column) }}
        and value_map.map_id is not null
),

-- every row as the run leaves it
later_rows as (
    select
        /* columns */,
        {{ key_text(entry.key, 'application') }} as "trueup row_key",
        {{ binary_text('planned_values.value_after') }} as "trueup value",
        planned_values.value_after is not null as "trueup is_planned"
    from /* relation */ as application
    left join planned_values
        on
            {{ binary_text('application.' ~ column) }} = planned_values.value_before
            and {{ in_scope(entry.tenant, 'application', '$2') | indent(12) }}
),
{%- endset %}

-- name: {{ statement_name('plan_refusals', entry) }}()
-- The SQL texts take run_id and tenants, and answer with a finding if rows will be refused.
with {{ managed_relation(app_schema(), literal(entry.table)) }},

{{ update_followers(literal(entry.column)) }},

{{ hot_blockers(literal(entry.column), 'null') }},

index_keys as (
    select
        hot_blockers.indexrelid,
        string_agg(
            '(' || pg_get_indexdef(hot_blockers.indexrelid, numbers.number, true) || ')'
            || coalesce(
                ' collate ' || quote_ident(pg_namespace.nspname)
                || '.' || quote_ident(pg_collation.collname),
                ''
            ),
            ', ' order by numbers.number
        ) as listed
    from hot_blockers
    inner join pg_catalog.pg_index on hot_blockers.indexrelid = pg_index.indexrelid
    cross join generate_series(1, cast(pg_index.indnkeyatts as integer)) as numbers (number)
    left join pg_catalog.pg_collation
        on pg_collation.oid = (cast(pg_index.indcollation as oid[]))[numbers.number - 1]
    left join pg_catalog.pg_namespace on pg_collation.collnamespace = pg_namespace.oid
    where hot_blockers.refuses and hot_blockers.is_countable
    group by hot_blockers.indexrelid
),

reference_keys as (
    select
        pg_constraint.oid,
        string_agg('later_rows.' || quote_ident(own.attname), ', ') as listed,
        string_agg(
            format('referenced.%I = later_rows.%I', theirs.attname, own.attname), ' and '
        ) as condition
    from managed
    inner join pg_catalog.pg_constraint
        on
            managed.oid = pg_constraint.conrelid
            and pg_constraint.contype = 'f'
            and pg_get_constraintdef(pg_constraint.oid) !~ 'NOT ENFORCED'
    cross join
        lateral unnest(pg_constraint.conkey, pg_constraint.confkey) as pairs (attnum, referenced)
    inner join pg_catalog.pg_attribute as own
        on managed.oid = own.attrelid and pairs.attnum = own.attnum
    inner join pg_catalog.pg_attribute as theirs
        on pg_constraint.confrelid = theirs.attrelid and pairs.referenced = theirs.attnum
    group by pg_constraint.oid
    having bool_or(own.attname = {{ literal(entry.column) }})
),

-- condition: of an index, which rows are in it; of a foreign key, what a row refers to. attnums and
-- nodes (the server's node trees): the columns that it uses; others the role may have no right to.
rules as (
    select
        true as is_unique,
        hot_blockers.indrelid as relid,
        hot_blockers.qualified as name,
        index_keys.listed as key_list,
        '' as referenced,
        cast(pg_index.indkey as int2[]) as attnums,
        concat(cast(pg_index.indexprs as text), cast(pg_index.indpred as text)) as nodes,
        concat_ws(
            ' and ',
            '(' || pg_get_expr(pg_index.indpred, pg_index.indrelid, true) || ')',
            case
                when pg_index.indnullsnotdistinct then 'true'
                else 'num_nulls(' || index_keys.listed || ') = 0'
            end
        ) as condition
    from index_keys
    inner join hot_blockers on index_keys.indexrelid = hot_blockers.indexrelid
    inner join pg_catalog.pg_index on index_keys.indexrelid = pg_index.indexrelid
    union all
    select
        false as is_unique,
        pg_constraint.conrelid as relid,
        quote_ident(pg_constraint.conname) as name,
        reference_keys.listed as key_list,
        cast(cast(pg_constraint.confrelid as regclass) as text) as referenced,
        pg_constraint.conkey as attnums,
        '' as nodes,
        reference_keys.condition
    from reference_keys
    inner join pg_catalog.pg_constraint on reference_keys.oid = pg_constraint.oid
),

-- What replaces the comments of the texts.
sources as (
    select
        rules.is_unique,
        rules.key_list,
        rules.referenced,
        rules.condition,
        quote_literal(rules.name) as rule_name,
        cast(cast(rules.relid as regclass) as text) as relation,
        string_agg(
            case
                when pg_attribute.attname = {{ literal(entry.column) }}
                    then format(
                        'case when planned_values.value_after is null then application.%1$I'
                        || ' else cast(planned_values.value_after as %2$s) end as %1$I',
                        pg_attribute.attname,
                        format_type(pg_attribute.atttypid, pg_attribute.atttypmod)
                    )
                else 'application.' || quote_ident(pg_attribute.attname)
            end,
            ', ' order by pg_attribute.attnum
        ) as column_list
    from rules
    inner join pg_catalog.pg_attribute
        on
            rules.relid = pg_attribute.attrelid
            and not pg_attribute.attisdropped
            and (
                pg_attribute.attname = {{ literal(entry.column) }}
                or pg_attribute.attnum = any(rules.attnums)
                or rules.nodes ~ (':varattno ' || pg_attribute.attnum || ' ')
            )
    group by
        rules.is_unique,
        rules.key_list,
        rules.referenced,
        rules.condition,
        rules.name,
        rules.relid
),

texts as (
    select
        sources.*,
        case
            when sources.is_unique
                then $sql${{ later_rows }}

-- A row that keeps its value comes first in its group; the others of the group cannot follow it.
placed_rows as (
    select
        later_rows."trueup row_key" as row_key,
        later_rows."trueup value" as new_value,
        later_rows."trueup is_planned" as is_planned,
        row_number() over by_key as place,
        first_value(later_rows."trueup row_key") over by_key as first_key
    from later_rows
    where /* condition */
    window by_key as (
        partition by /* keys */
        order by later_rows."trueup is_planned", later_rows."trueup row_key"
    )
),

refused_rows as (
    select
        placed_rows.*,
        row_number() over (order by placed_rows.first_key, placed_rows.place) as number
    from placed_rows
    where
        placed_rows.is_planned
        and placed_rows.place > 1
),

judged as (
    select
        'table__not_unique' as code,
        'warn' as status,
        {{ subject }} as subject,
        array[
            /* rule */,
            to_char(count(*), 'FM999,999,999,999,990'),
            string_agg(
                refused_rows.first_key || ' and ' || refused_rows.row_key || ': '
                || refused_rows.new_value,
                ', ' order by refused_rows.number
            ) filter (where refused_rows.number <= 3)
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        count(*) as rows,
        jsonb_agg(
            jsonb_build_object(
                'row_key', refused_rows.row_key,
                'other_row_key', refused_rows.first_key,
                'value', refused_rows.new_value
            )
            order by refused_rows.number
        ) filter (where refused_rows.number <= 20) as sample
    from refused_rows
    having count(*) > 0
),

{{ finding_rows('table', table_words() | selectattr(0, 'equalto', 'table__not_unique')) }}

select * from final
$sql$
            else $sql${{ later_rows }}

refused_values as (
    select
        later_rows."trueup value" as new_value,
        count(*) as row_count,
        min(later_rows."trueup row_key") as row_key,
        row_number() over (order by count(*) desc, later_rows."trueup value" asc) as number
    from later_rows
    where
        later_rows."trueup is_planned"
        and num_nulls(/* keys */) = 0
        and not exists (
            select 1 as found
            from /* referenced */ as referenced
            where /* condition */
        )
    group by later_rows."trueup value"
),

refused_rows as (
    select
        cast(sum(refused_values.row_count) as bigint) as row_count,
        array_agg(refused_values.new_value order by refused_values.number) as new_values,
        jsonb_agg(
            jsonb_build_object(
                'row_key', refused_values.row_key,
                'value', refused_values.new_value,
                'rows', refused_values.row_count
            )
            order by refused_values.number
        ) filter (where refused_values.number <= 20) as sample
    from refused_values
),

judged as (
    select
        'table__not_referenced' as code,
        'warn' as status,
        {{ subject }} as subject,
        array[
            /* rule */,
            to_char(refused_rows.row_count, 'FM999,999,999,999,990'),
            {{ listed('refused_rows.new_values') | indent(12) }}
        ] as arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        refused_rows.row_count as rows,
        refused_rows.sample
    from refused_rows
    where refused_rows.row_count > 0
),

{{ finding_rows('table', table_words() | selectattr(0, 'equalto', 'table__not_referenced')) }}

select * from final
$sql$
        end as sql_text
    from sources
),

final as (
    select
        replace(
            replace(
                replace(
                    replace(
                        replace(
                            replace(texts.sql_text, '/* columns */', texts.column_list),
                            '/* relation */',
                            texts.relation
                        ),
                        '/* rule */',
                        texts.rule_name
                    ),
                    '/* keys */',
                    texts.key_list
                ),
                '/* condition */',
                texts.condition
            ),
            '/* referenced */',
            texts.referenced
        ) as sql_text
    from texts
)

select * from final;
{%- endfor %}
