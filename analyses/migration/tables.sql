-- Named statements that judge a managed column and its table: catalogs and statistics only, no row
-- of the application.

-- name: tables__findings(schema_name, table_name, column_name, key_names, key_types, needed_names,
--     canonical_values, writes, is_document, is_built, is_production)
-- needed_names: every column that trueup reads. canonical_values: what it may write, NULL if that
-- is not known.
-- writes: rows will be changed in place; otherwise what only that needs is a warning.
-- is_document: a jsonb column, which is never changed in place.
-- is_built: models are there; what only building them needs is a warning.
-- is_production: more rights than needed are worth a warning.
-- The subject is table.column, or table for what may concern each of its columns. If the
-- configuration does not fit the table, nothing else is said. A column that nothing forbids has one
-- finding that is ok, and so has its table.
with recursive asked as (
    select
        cast($2 as text) as table_name,
        cast($3 as text) as column_name,
        cast($4 as text[]) as key_names,
        cast($5 as text[]) as key_types,
        cast($6 as text[]) as needed_names,
        cast($9 as boolean) as is_document,
        cast($11 as boolean) as is_production,
        cast($1 as text) || '.' || cast($2 as text) as relation,
        quote_ident(current_user) as role,
        quote_ident(current_database()) as database,
        case when cast($8 as boolean) then 'fail' else 'warn' end as blocked,
        case
            when cast($8 as boolean) and not cast($9 as boolean) then 'fail'
            else 'warn'
        end as hidden,
        case
            when cast($9 as boolean) and cast($10 as boolean) then 'warn'
            else 'fail'
        end as unread
),

{{ managed_relation('$1', '$2') }},

{{ table_columns() }},

managed_column as (
    select columns.*
    from columns
    inner join asked on columns.name = asked.column_name
),

primary_key as (
    select
        array_agg(columns.name order by key_columns.position) as key_names,
        string_agg(columns.name, ', ' order by key_columns.position) as listed
    from managed
    inner join pg_catalog.pg_index on managed.oid = pg_index.indrelid and pg_index.indisprimary
    cross join
        lateral unnest(cast(pg_index.indkey as int2[])) with ordinality as key_columns (
            attnum, position
        )
    inner join columns on key_columns.attnum = columns.attnum
    where key_columns.position <= pg_index.indnkeyatts
),

key_parts as (
    select
        parts.name,
        parts.type,
        parts.position,
        {{ key_type('columns.type') | indent(8) }} as known_type,
        {{ key_type('parts.type') | indent(8) }} as wanted_type
    from asked
    cross join
        lateral unnest(asked.key_names, asked.key_types) with ordinality as parts (
            name, type, position
        )
    left join columns on parts.name = columns.name
),

asked_key as (
    select
        string_agg(parts.name, ', ' order by parts.position) as listed,
        string_agg(columns.quoted, ', ' order by parts.position) as quoted,
        string_agg(parts.name || ' ' || parts.type, ', ' order by parts.position) as typed,
        array_agg(
            array[parts.name, columns.type, parts.type]
            order by parts.position
        ) filter (where parts.known_type <> parts.wanted_type) as wrong
    from key_parts as parts
    left join columns on parts.name = columns.name
),

absent_columns as (
    select array_agg(needed.name order by needed.position) as absent_names
    from asked
    cross join lateral unnest(asked.needed_names) with ordinality as needed (name, position)
    left join columns on needed.name = columns.name
    where columns.name is null
),

-- What of the configuration does not fit; the first is said.
shape as (
    select
        case
            when managed.oid is null then 'table__missing'
            when absent_columns.absent_names is not null then 'table__no_column'
            when
                managed.relkind in ('r', 'p')
                and coalesce(primary_key.key_names, '{}') <> asked.key_names
                then 'table__other_key'
            when asked_key.wrong is not null then 'table__other_key_type'
            when asked.is_document and managed_column.type <> 'jsonb' then 'table__no_document'
            when
                not asked.is_document
                and managed_column.base not in ('text', 'varchar', 'citext', 'bpchar', 'enum')
                then 'table__no_text'
        end as code,
        array[
            asked.relation,
            asked.database,
            absent_columns.absent_names[1],
            (
                select string_agg(columns.name, ', ' order by columns.attnum)
                from columns
            ),
            coalesce(primary_key.listed, 'missing'),
            asked_key.listed,
            managed.qualified,
            asked_key.quoted,
            asked_key.wrong[1][1],
            asked_key.wrong[1][2],
            asked_key.wrong[1][3],
            managed_column.type
        ] as arguments
    from asked
    cross join primary_key
    cross join asked_key
    cross join absent_columns
    left join managed on true
    left join managed_column on true
),

rights as (
    select
        has_schema_privilege(managed.relnamespace, 'usage') as may_use_schema,
        pg_has_role(managed.relowner, 'usage') as is_owner,
        row_security_active(managed.oid) as hides_rows,
        string_agg(columns.quoted, ', ' order by columns.attnum)
        filter (
            where
            columns.name = any(asked.needed_names)
            and not has_column_privilege(managed.oid, columns.attnum, 'select')
        ) as unread_columns,
        coalesce(
            bool_or(has_column_privilege(managed.oid, columns.attnum, 'update'))
            filter (where columns.name = asked.column_name),
            false
        ) as may_update,
        nullif(
            concat_ws(
                ', ',
                'update of ' || nullif(
                    count(*) filter (
                        where
                        columns.name <> asked.column_name
                        and has_column_privilege(managed.oid, columns.attnum, 'update')
                    ),
                    0
                ) || ' other columns',
                case when has_any_column_privilege(managed.oid, 'insert') then 'insert' end,
                case when has_table_privilege(managed.oid, 'delete') then 'delete' end,
                case when has_table_privilege(managed.oid, 'truncate') then 'truncate' end
            ),
            ''
        ) as more
    from asked
    cross join managed
    inner join columns on true
    group by
        managed.oid,
        managed.relnamespace,
        managed.relowner
),

-- The column, if the configuration fits its table.
sound as (
    select
        asked.*,
        managed.*,
        managed_column.*,
        rights.*,
        primary_key.key_names as primary_key_names,
        asked_key.typed as typed_key
    from asked
    cross join managed
    cross join managed_column
    cross join primary_key
    cross join asked_key
    cross join rights
    cross join shape
    where shape.code is null
),

{{ table_size('$3') }},

{{ update_followers('$3') }},

{{ hot_blockers('$3', '$7') }},

longest_value as (
    select max(char_length(listed.canonical_value)) as characters
    from unnest(cast($7 as text[])) as listed (canonical_value)
),

partition_keys as (
    select count(*) > 0 as has_column
    from managed
    left join members on true
    cross join
        lateral pg_partition_ancestors(coalesce(members.oid, managed.oid)) as ancestors
    inner join pg_catalog.pg_partitioned_table on ancestors.relid = pg_partitioned_table.partrelid
    inner join pg_catalog.pg_attribute on ancestors.relid = pg_attribute.attrelid
    where
        pg_attribute.attname = cast($3 as text)
        and (
            pg_attribute.attnum = any(cast(pg_partitioned_table.partattrs as int2[]))
            or cast(pg_partitioned_table.partexprs as text)
            ~ (':varattno (0|' || pg_attribute.attnum || ') ')
        )
),

column_outcomes as (
    select
        outcomes.code,
        outcomes.concern,
        outcomes.arguments
    from sound
    cross join longest_value
    cross join partition_keys
    cross join
        lateral (
            values
            (
                'table__schema_forbidden', 'reads', not sound.may_use_schema,
                array[sound.role, sound.schema_quoted]
            ),
            (
                'table__select_forbidden', 'reads', sound.unread_columns is not null,
                array[sound.role, sound.unread_columns, sound.qualified]
            ),
            (
                'table__rows_hidden', 'hides', sound.hides_rows,
                array[sound.role, sound.qualified]
            ),
            (
                'table__update_forbidden', 'writes', not sound.may_update,
                array[sound.role, sound.quoted, sound.qualified]
            ),
            (
                'table__padded', 'writes', sound.base = 'bpchar',
                array[sound.type, sound.qualified, sound.quoted]
            ),
            (
                'table__enum', 'writes', sound.base = 'enum',
                array[sound.type, sound.qualified, sound.quoted]
            ),
            (
                case
                    when sound.is_domain then 'table__domain_too_short'
                    else 'table__varchar_too_short'
                end,
                'writes', sound.max_length < longest_value.characters,
                array[
                    sound.type,
                    sound.qualified,
                    sound.quoted,
                    cast(sound.max_length as text),
                    cast(longest_value.characters as text)
                ]
            ),
            (
                'table__generated', 'writes', sound.generated is not null,
                array[sound.generated]
            ),
            ('table__in_partition_key', 'writes', partition_keys.has_column, '{}'),
            (
                'table__in_primary_key', 'writes',
                sound.name = any(sound.primary_key_names) and not partition_keys.has_column,
                '{}'
            ),
            ('table__citext', 'warns', sound.base = 'citext', '{}'),
            (
                'table__collation', 'warns', not sound.is_deterministic,
                array[sound.type, sound.collation]
            ),
            (
                'table__domain_checks', 'warns', sound.domain_checks <> '{}',
                array[
                    sound.type,
                    {{ listed('sound.domain_checks') | indent(20) }}
                ]
            )
        ) as outcomes (code, concern, is_found, arguments)
    where outcomes.is_found
),

constraint_outcomes as (
    select
        'table__constraint' as code,
        'warns' as concern,
        array[
            case
                when pg_constraint.contype = 'c' then 'check'
                when pg_constraint.conrelid = sound.oid then 'foreign key'
                else 'referenced by'
            end,
            quote_ident(pg_constraint.conname),
            cast(cast(pg_constraint.conrelid as regclass) as text)
        ] as arguments
    from sound
    inner join pg_catalog.pg_constraint
        on
            pg_constraint.contype in ('c', 'f')
            and not (pg_constraint.contype = 'c' and not pg_constraint.convalidated)
            and (
                (
                    sound.oid = pg_constraint.conrelid
                    and sound.attnum = any(pg_constraint.conkey)
                )
                or (
                    sound.oid = pg_constraint.confrelid
                    and sound.attnum = any(pg_constraint.confkey)
                )
            )
),

-- An update of any column is refused if the new version of the row violates a check, also one that
-- old rows were never held against.
unvalidated_outcomes as (
    select
        'table__not_valid' as code,
        'warns' as concern,
        array[
            quote_ident(pg_constraint.conname),
            cast(cast(pg_constraint.conrelid as regclass) as text),
            pg_get_constraintdef(pg_constraint.oid)
        ] as arguments
    from sound
    inner join pg_catalog.pg_constraint
        on
            sound.oid = pg_constraint.conrelid
            or (
                pg_constraint.conrelid in (select members.oid from members)
                and pg_constraint.coninhcount = 0
            )
    where
        pg_constraint.contype in ('c', 'n')
        and not pg_constraint.convalidated
        and pg_get_constraintdef(pg_constraint.oid) !~ 'NOT ENFORCED'
),

index_outcomes as (
    select
        'warns' as concern,
        hot_blockers.reason = 'trigger' as is_of_table,
        case
            when hot_blockers.reason = 'trigger' then 'table__index_by_trigger'
            when hot_blockers.reason = 'generated' then 'table__index_generated'
            when hot_blockers.is_rule then 'table__index_rule'
            when not hot_blockers.is_pending then 'table__index'
            when hot_blockers.is_usable then 'table__index_pending'
            else 'table__index_useless'
        end as code,
        array[hot_blockers.words, hot_blockers.qualified] as arguments
    from hot_blockers
    union all
    select
        'warns' as concern,
        false as is_of_table,
        'table__uncounted_rule' as code,
        array[hot_blockers.qualified] as arguments
    from hot_blockers
    where hot_blockers.refuses and not hot_blockers.is_countable
),

trigger_outcomes as (
    select
        'warns' as concern,
        case
            when triggers.timing = 'before' and triggers.is_row and triggers.sets_columns <> '{}'
                then 'table__trigger_sets'
            when triggers.timing = 'before' and triggers.is_row then 'table__trigger_before'
            when triggers.is_row then 'table__trigger_row'
            else 'table__trigger_batch'
        end as code,
        array[
            triggers.name,
            triggers.function,
            {{ listed('triggers.sets_columns') | indent(12) }},
            triggers.timing
        ] as arguments
    from triggers
),

readers as (
    select distinct format('%I.%I', pg_namespace.nspname, pg_class.relname) as name
    from sound
    left join members on true
    inner join pg_catalog.pg_depend
        on
            pg_depend.refobjid in (sound.oid, members.oid)
            and pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
            and pg_depend.classid = cast('pg_catalog.pg_rewrite' as regclass)
    inner join pg_catalog.pg_rewrite on pg_depend.objid = pg_rewrite.oid
    inner join pg_catalog.pg_class
        on
            pg_rewrite.ev_class = pg_class.oid
            and pg_class.relkind in ('v', 'm')
            and sound.oid <> pg_class.oid
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
),

publications as (
    select distinct quote_ident(pg_publication.pubname) as name
    from sound
    left join members on true
    inner join pg_catalog.pg_class on pg_class.oid in (sound.oid, members.oid)
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    inner join pg_catalog.pg_publication_tables
        on
            pg_namespace.nspname = pg_publication_tables.schemaname
            and pg_class.relname = pg_publication_tables.tablename
    inner join pg_catalog.pg_publication
        on
            pg_publication_tables.pubname = pg_publication.pubname
            and pg_publication.pubupdate
),

-- The columns by which subscribers know a row.
identities as (
    select
        storage.oid,
        storage.qualified,
        storage.relreplident,
        coalesce(
            array_agg(cast(pg_attribute.attname as text))
            filter (where pg_attribute.attname is not null),
            '{}'
        ) as key_names
    from storage
    left join pg_catalog.pg_index
        on
            storage.oid = pg_index.indrelid
            and case storage.relreplident
                when 'd' then pg_index.indisprimary
                when 'i' then pg_index.indisreplident
            end
    left join pg_catalog.pg_attribute
        on
            pg_index.indrelid = pg_attribute.attrelid
            and array_position(cast(pg_index.indkey as int2[]), pg_attribute.attnum)
            < pg_index.indnkeyatts
    group by
        storage.oid,
        storage.qualified,
        storage.relreplident
),

-- filtered_names: columns of a row filter, uncovered_names: missing in a column list. If there is
-- one, the server refuses every update. With replica identity full it accepts no column list.
published_columns as (
    select
        quote_ident(pg_publication.pubname) as name,
        array_agg(distinct cast(pg_attribute.attname as text)) filter (
            where
            cast(pg_publication_rel.prqual as text) ~ (':varattno ' || pg_attribute.attnum || ' ')
            and identities.relreplident <> 'f'
            and pg_attribute.attname <> all(identities.key_names)
        ) as filtered_names,
        array_agg(distinct cast(pg_attribute.attname as text)) filter (
            where
            pg_publication_rel.prattrs is not null
            and (
                identities.relreplident = 'f'
                or (
                    pg_attribute.attname = any(identities.key_names)
                    and pg_attribute.attnum <> all(cast(pg_publication_rel.prattrs as int2[]))
                )
            )
        ) as uncovered_names
    from sound
    inner join identities on true
    inner join pg_catalog.pg_publication_rel
        on pg_publication_rel.prrelid in (sound.oid, identities.oid)
    inner join pg_catalog.pg_publication
        on
            pg_publication_rel.prpubid = pg_publication.oid
            and pg_publication.pubupdate
            and (
                identities.oid = pg_publication_rel.prrelid
                or pg_publication.pubviaroot
            )
    inner join pg_catalog.pg_attribute
        on
            pg_publication_rel.prrelid = pg_attribute.attrelid
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
    group by pg_publication.pubname
),

publication_outcomes as (
    select
        outcomes.code,
        'writes' as concern,
        outcomes.arguments
    from published_columns
    cross join
        lateral (
            values
            (
                'table__publication_filter', published_columns.filtered_names is not null,
                array[
                    published_columns.name,
                    {{ listed('published_columns.filtered_names') | indent(20) }}
                ]
            ),
            (
                'table__publication_columns', published_columns.uncovered_names is not null,
                array[
                    published_columns.name,
                    {{ listed('published_columns.uncovered_names') | indent(20) }}
                ]
            )
        ) as outcomes (code, is_found, arguments)
    where outcomes.is_found
),

-- Table inheritance, without partitions.
kinship as (
    select
        array_agg(cast(cast(child.oid as regclass) as text) order by child.relname)
        filter (where pg_inherits.inhparent = sound.oid) as children,
        array_agg(cast(cast(parent.oid as regclass) as text) order by parent.relname)
        filter (where pg_inherits.inhrelid = sound.oid) as parents
    from sound
    inner join pg_catalog.pg_inherits on sound.oid in (pg_inherits.inhparent, pg_inherits.inhrelid)
    inner join pg_catalog.pg_class as child on pg_inherits.inhrelid = child.oid
    inner join pg_catalog.pg_class as parent on pg_inherits.inhparent = parent.oid
    where not child.relispartition
),

surroundings as (
    select
        kinship.children,
        kinship.parents,
        array(
            select computed.name from computed
            order by computed.name
        ) as computed_columns,
        array(
            select readers.name from readers
            order by readers.name
        ) as views,
        array(
            select publications.name from publications
            order by publications.name
        ) as publications,
        array(
            select quote_ident(pg_rewrite.rulename)
            from managed
            inner join pg_catalog.pg_rewrite on managed.oid = pg_rewrite.ev_class
            where pg_rewrite.ev_type = '2' and managed.relkind in ('r', 'p')
            order by pg_rewrite.rulename
        ) as rules,
        array(
            select storage.qualified from storage
            where storage.is_unanalyzed
            order by storage.qualified
        ) as unanalyzed,
        (
            select bool_or(identities.relreplident = 'f')
            from identities
        ) as has_full_identity,
        (
            select min(identities.qualified)
            from identities
            where
                identities.key_names = '{}'
                and identities.relreplident in ('n', 'd')
        ) as unidentified,
        (
            select min(identities.qualified)
            from identities
            where
                identities.key_names = '{}'
                and identities.relreplident = 'i'
        ) as identity_dropped,
        (
            select count(*)
            from storage
            where storage.oid <> sound.oid
        ) as partitions
    from sound
    cross join kinship
),

table_outcomes as (
    select
        outcomes.code,
        outcomes.concern,
        outcomes.is_of_table,
        outcomes.arguments
    from sound
    cross join surroundings
    cross join
        lateral (
            values
            (
                'table__generated_columns', 'warns', false, surroundings.computed_columns <> '{}',
                array[
                    {{ listed('surroundings.computed_columns') | indent(20) }}
                ]
            ),
            (
                'table__no_table', 'writes', true, sound.relkind not in ('r', 'p'),
                array[sound.kind]
            ),
            (
                'table__inherited', 'writes', true, surroundings.children <> '{}',
                array[
                    {{ listed('surroundings.children') | indent(20) }},
                    surroundings.children[1],
                    sound.qualified
                ]
            ),
            (
                'table__inherits', 'warns', true, surroundings.parents <> '{}',
                array[
                    {{ listed('surroundings.parents') | indent(20) }}
                ]
            ),
            (
                'table__rules', 'writes', true, surroundings.rules <> '{}',
                array[
                    {{ listed('surroundings.rules') | indent(20) }},
                    surroundings.rules[1],
                    sound.qualified
                ]
            ),
            (
                'table__never_analyzed', 'warns', true, surroundings.unanalyzed <> '{}',
                array[
                    {{ listed('surroundings.unanalyzed') | indent(20) }},
                    sound.qualified
                ]
            ),
            (
                'table__no_identity', 'writes', true,
                surroundings.publications <> '{}' and surroundings.unidentified <> '',
                array[
                    {{ listed('surroundings.publications') | indent(20) }},
                    surroundings.unidentified
                ]
            ),
            (
                'table__identity_dropped', 'writes', true,
                surroundings.publications <> '{}' and surroundings.identity_dropped <> '',
                array[
                    {{ listed('surroundings.publications') | indent(20) }},
                    surroundings.identity_dropped
                ]
            ),
            (
                'table__full_identity', 'warns', true,
                surroundings.publications <> '{}' and surroundings.has_full_identity
                and surroundings.unidentified is null,
                array[
                    {{ listed('surroundings.publications') | indent(20) }},
                    sound.qualified
                ]
            ),
            (
                case
                    when sound.is_owner then 'table__owner_rights'
                    else 'table__more_rights'
                end,
                'warns', true, sound.is_production and sound.may_update and sound.more <> '',
                array[sound.role, sound.more]
            )
        ) as outcomes (code, concern, is_of_table, is_found, arguments)
    where outcomes.is_found
),

outcomes as (
    select
        column_outcomes.code,
        column_outcomes.concern,
        false as is_of_table,
        column_outcomes.arguments
    from column_outcomes
    union all
    select
        constraint_outcomes.code,
        constraint_outcomes.concern,
        false as is_of_table,
        constraint_outcomes.arguments
    from constraint_outcomes
    union all
    select
        unvalidated_outcomes.code,
        unvalidated_outcomes.concern,
        true as is_of_table,
        unvalidated_outcomes.arguments
    from unvalidated_outcomes
    union all
    select
        publication_outcomes.code,
        publication_outcomes.concern,
        true as is_of_table,
        publication_outcomes.arguments
    from publication_outcomes
    union all
    select
        index_outcomes.code,
        index_outcomes.concern,
        index_outcomes.is_of_table,
        index_outcomes.arguments
    from index_outcomes
    union all
    select
        trigger_outcomes.code,
        trigger_outcomes.concern,
        true as is_of_table,
        trigger_outcomes.arguments
    from trigger_outcomes
    union all
    select
        table_outcomes.code,
        table_outcomes.concern,
        table_outcomes.is_of_table,
        table_outcomes.arguments
    from table_outcomes
),

-- A document is only read.
concerns as (
    select
        outcomes.code,
        outcomes.is_of_table,
        outcomes.arguments,
        case outcomes.concern
            when 'reads' then sound.unread
            when 'hides' then sound.hidden
            when 'writes' then sound.blocked
            else 'warn'
        end as status
    from outcomes
    cross join sound
    where outcomes.concern in ('reads', 'hides') or not sound.is_document
),

failures as (
    select
        coalesce(bool_or(concerns.status = 'fail' and concerns.is_of_table), false) as of_table,
        coalesce(bool_or(concerns.status = 'fail' and not concerns.is_of_table), false) as of_column
    from concerns
),

parts as (
    select * from concerns
    union all
    select
        shape.code,
        false as is_of_table,
        shape.arguments,
        'fail' as status
    from shape
    where shape.code is not null
    union all
    select
        'table__column' as code,
        false as is_of_table,
        array[sound.type, sound.typed_key] as arguments,
        'ok' as status
    from sound
    cross join failures
    where not failures.of_column
    union all
    select
        case
            when table_size.estimated_rows is null then 'table__size_unknown'
            else 'table__size'
        end as code,
        true as is_of_table,
        array[
            sound.kind,
            to_char(table_size.estimated_rows, 'FM999,999,999,999,990'),
            pg_size_pretty(table_size.bytes),
            '; ' || nullif(surroundings.partitions, 0) || ' partitions',
            '; read by ' || nullif(
                {{ listed('surroundings.views') | indent(16) }},
                ''
            )
        ] as arguments,
        'ok' as status
    from sound
    cross join table_size
    cross join surroundings
    cross join failures
    where not failures.of_table and not sound.is_document
),

judged as (
    select
        parts.code,
        parts.status,
        parts.arguments,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample,
        asked.table_name
        || case when parts.is_of_table then '' else '.' || asked.column_name end as subject
    from parts
    cross join asked
),

{{ finding_rows('table', table_words()) }}

select * from final;

-- name: tables__of_plan(schema_name, table_name, column_name, left_out, canonical_values)
-- What a plan needs to know of a managed column that can be changed in place. One row.
-- left_out: columns that a batch does not compare, beside those generated from the managed one.
-- other_columns: the names of both, for the run's options.
-- stripes_pay: the next stripe can use the room that the last one freed. stripes_why: why batches
-- are striped or not.
with recursive {{ managed_relation('$1', '$2') }},

{{ table_columns() }},

{{ table_size('$3') }},

{{ update_followers('$3') }},

{{ hot_blockers('$3', '$5') }},

{{ old_snapshots() }},

obstacles as (
    select
        min(hot_blockers.words) as index_words,
        (
            select old_snapshots.words
            from old_snapshots
            where old_snapshots.number = 1
        ) as snapshot_words
    from hot_blockers
),

other_columns as (
    select
        columns.*,
        columns.name <> all(cast($4 as text[]))
        and columns.name not in (select computed.name from computed) as is_compared
    from columns
    where columns.name <> cast($3 as text)
),

compared as (
    select
        string_agg('application.' || other_columns.quoted, ', ' order by other_columns.attnum)
        filter (where other_columns.is_compared) as column_list,
        jsonb_build_object(
            'schema_name', cast($1 as text),
            'table_name', cast($2 as text),
            'column_name', cast($3 as text),
            'compared', coalesce(
                jsonb_agg(other_columns.name order by other_columns.attnum)
                filter (where other_columns.is_compared),
                '[]'
            ),
            'left_out', coalesce(
                jsonb_agg(other_columns.name order by other_columns.attnum)
                filter (where not other_columns.is_compared),
                '[]'
            )
        ) as name_lists
    from other_columns
)

select
    managed.qualified,
    compared.column_list as compared_columns,
    compared.name_lists as other_columns,
    table_size.estimated_rows,
    table_size.bytes,
    cast(deadlock_timeout.setting as integer) as deadlock_timeout_ms,
    obstacles.index_words is null as is_hot_possible,
    coalesce(obstacles.index_words, obstacles.snapshot_words) is null as stripes_pay,
    case
        when obstacles.index_words is not null
            then obstacles.index_words || ': this rules out HOT updates'
        when obstacles.snapshot_words is not null
            then obstacles.snapshot_words || ' keeps old row versions from being pruned'
        else format('no index contains %s, and no snapshot is old', cast($3 as text))
    end as stripes_why
from managed
cross join compared
cross join table_size
cross join obstacles
inner join pg_catalog.pg_settings as deadlock_timeout
    on deadlock_timeout.name = 'deadlock_timeout';

-- name: tables__changed_columns(run_id)
-- Tables with other columns than the plan saw, in words: `apply --hash-others` would compare those
-- of the plan only.
with runs as (
    select * from {{ ref('migration_runs') }}
),

planned as (
    select
        listed.*,
        to_regclass(format('%I.%I', listed.schema_name, listed.table_name)) as relation
    from runs
    cross join
        lateral jsonb_to_recordset(runs.options -> 'other_columns') as listed (
            schema_name text, table_name text, column_name text, compared text[], left_out text[]
        )
    where runs.run_id = $1
),

changed as (
    select
        planned.table_name,
        'column ' || quote_ident(pg_attribute.attname) || ' is new' as words
    from planned
    inner join pg_catalog.pg_attribute on planned.relation = pg_attribute.attrelid
    where
        pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
        and pg_attribute.attname <> all(
            planned.compared || planned.left_out || planned.column_name
        )
    union
    select
        planned.table_name,
        'column ' || quote_ident(named.compared_name) || ' is gone' as words
    from planned
    cross join unnest(planned.compared) as named (compared_name)
    where
        not exists (
            select 1 as found
            from pg_catalog.pg_attribute
            where
                planned.relation = pg_attribute.attrelid
                and named.compared_name = pg_attribute.attname
                and not pg_attribute.attisdropped
        )
)

select
    changed.table_name || ' has changed since, so --hash-others cannot compare it: '
    || string_agg(changed.words, ', ' order by changed.words) as reason
from changed
group by changed.table_name
order by changed.table_name;

{%- set run_words = table_words() | selectattr(0, 'in', [
    'table__run_at_work', 'table__run_superseded', 'table__run_unfinished',
]) | list %}

-- name: tables__unfinished_runs(table_names, column_names, tenants)
-- Runs that have not ended and want the same rows as a new plan. One that works, or that has
-- changed rows, forbids the plan; any other is closed, see run__superseded.
with {{ rival_runs('$1', '$2', '$3') }},

judged as (
    select
        case
            when rival_runs.is_replaceable then 'table__run_superseded'
            when rival_runs.is_held then 'table__run_at_work'
            else 'table__run_unfinished'
        end as code,
        case when rival_runs.is_replaceable then 'info' else 'fail' end as status,
        cast(null as text) as expected,
        cast(null as text) as found,
        cast(null as bigint) as rows,
        cast(null as jsonb) as sample,
        rival_runs.places as subject,
        array[
            rival_runs.short_id,
            rival_runs.status_text,
            {{ counted('rival_runs.rows_updated', 'row') | indent(12) }}
        ] as arguments
    from rival_runs
),

{{ finding_rows('table', run_words) }}

select * from final;
