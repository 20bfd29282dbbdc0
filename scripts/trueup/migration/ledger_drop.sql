-- Named statements of `trueup ledger drop`: catalogs only. `ours` are the names of the tool's own
-- tables, `views` those of its views; what has another kind is somebody else's, whatever its name.

-- name: ours(schema_name, table_names, view_names)
select
    pg_class.relname as name,
    case pg_class.relkind when 'r' then 'table' else 'view' end as kind,
    pg_total_relation_size(pg_class.oid) as bytes,
    pg_get_userbyid(pg_class.relowner) as owner,
    pg_has_role(pg_class.relowner, 'usage') as is_owner
from pg_catalog.pg_class
inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
where
    pg_namespace.nspname = cast($1 as text)
    and (
        (
            pg_class.relkind = 'r'
            -- what a rehearsal that was killed has left is ours, too
            and (
                pg_class.relname = any(cast($2 as text[]))
                or pg_class.relname ~ '^rehearsal_[0-9a-f]{12}$'
            )
        )
        or (pg_class.relkind = 'v' and pg_class.relname = any(cast($3 as text[])))
    )
order by pg_class.relname

-- name: foreigners(schema_name, table_names, view_names)
-- What stands in the schema and is not ours, and what stands elsewhere and is built on ours.
with ours as (
    select
        pg_class.oid,
        pg_class.reltype
    from pg_catalog.pg_class
    inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        pg_namespace.nspname = cast($1 as text)
        and (
            (
                pg_class.relkind = 'r'
                and (
                    pg_class.relname = any(cast($2 as text[]))
                    or pg_class.relname ~ '^rehearsal_[0-9a-f]{12}$'
                )
            )
            or (pg_class.relkind = 'v' and pg_class.relname = any(cast($3 as text[])))
        )
),

-- What belongs to one of ours and goes with it: the sequence of an identity column.
own_parts as (
    select
        pg_depend.classid,
        pg_depend.objid
    from pg_catalog.pg_depend
    inner join ours on pg_depend.refobjid = ours.oid
    where
        pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
        and pg_depend.deptype in ('i', 'a')
),

residents as (
    select
        pg_depend.classid,
        pg_depend.objid
    from pg_catalog.pg_depend
    inner join pg_catalog.pg_namespace on pg_depend.refobjid = pg_namespace.oid
    where
        pg_depend.refclassid = cast('pg_catalog.pg_namespace' as regclass)
        and pg_namespace.nspname = cast($1 as text)
        and pg_depend.deptype = 'n'
),

-- A view hangs on its rule, a foreign key on its constraint.
dependents as (
    select
        case
            when pg_rewrite.ev_class is not null or pg_constraint.conrelid > 0
                then cast(cast('pg_catalog.pg_class' as regclass) as oid)
            else pg_depend.classid
        end as classid,
        coalesce(
            pg_rewrite.ev_class, nullif(pg_constraint.conrelid, 0), pg_depend.objid
        ) as objid
    from pg_catalog.pg_depend
    inner join ours
        on
            (
                pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
                and pg_depend.refobjid = ours.oid
            )
            or (
                pg_depend.refclassid = cast('pg_catalog.pg_type' as regclass)
                and pg_depend.refobjid = ours.reltype
            )
    left join pg_catalog.pg_rewrite
        on
            pg_depend.classid = cast('pg_catalog.pg_rewrite' as regclass)
            and pg_depend.objid = pg_rewrite.oid
    left join pg_catalog.pg_constraint
        on
            pg_depend.classid = cast('pg_catalog.pg_constraint' as regclass)
            and pg_depend.objid = pg_constraint.oid
    left join pg_catalog.pg_policy
        on
            pg_depend.classid = cast('pg_catalog.pg_policy' as regclass)
            and pg_depend.objid = pg_policy.oid
    where
        pg_depend.deptype = 'n'
        and pg_policy.polrelid is null
),

others as (
    select * from residents
    union
    select * from dependents
)

select distinct pg_describe_object(others.classid, others.objid, 0) as description
from others
where
    not exists (
        select
        from ours
        where
            others.classid = cast('pg_catalog.pg_class' as regclass)
            and others.objid = ours.oid
    )
    and not exists (
        select
        from own_parts
        where
            others.classid = own_parts.classid
            and others.objid = own_parts.objid
    )
order by description
