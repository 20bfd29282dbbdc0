{#-
    The check other_columns_untouched, one row for a column of the run, as CTEs and the last select
    of a statement that begins with verification_request().

    If the batches compared the other columns (`apply --hash-others`), their result decides. What
    they did not compare is not claimed: columns that were added since the plan, and what a trigger
    does after the comparison. If they compared nothing: the statement sets this column only, so no
    other column can have changed if there is no trigger, rule or generated column, neither now nor
    in the plan's findings. Otherwise the answer is unknown. A missing table raises.
    check_others(entry) → control as ( ... ), ... select * from results
-#}
{%- macro check_others(entry) -%}
{%- set table_text = trueup.literal(entry.table) -%}
{%- set column_text = trueup.literal(entry.column) -%}
{%- set cell = entry.table ~ '.' ~ entry.column -%}
{%- set relation = 'cast(' ~ trueup.literal(trueup.application_table(entry)) ~ ' as regclass)' -%}
control as (
    select * from {{ ref('stage_migration_control') }}
),

batches as (
    select * from {{ ref('stage_migration_batches') }}
),

changes as (
    select * from {{ ref('stage_normalization_changes') }}
),

places as (
    select
        request.run_id,
        request.restores,
        request.findings,
        request.options
    from request
    inner join control
        on request.run_id = control.run_id
    where
        control.table_name = {{ table_text }}
        and control.column_name = {{ column_text }}
        and (
            request.table_names is null
            or array_position(request.table_names, control.table_name) is not null
        )
),

entries as (
    select
        changes.batch_id,
        changes.row_keys,
        changes.tenants,
        changes.others_changed
    from places
    inner join batches
        on places.run_id = batches.run_id
    inner join changes
        on batches.batch_id = changes.batch_id
    where
        batches.table_name = {{ table_text }}
        and batches.column_name = {{ column_text }}
),

counted_entries as (
    select
        count(*) as entry_total,
        count(entries.others_changed) as entries_compared
    from entries
),

moved_rows as (
    select
        entries.batch_id,
        moved.row_key,
        changed.tenant
    from entries
    cross join unnest(entries.others_changed) as moved (row_key)
    -- in any order; without a tenant if the audit does not have the row
    left join
        lateral unnest(entries.row_keys, entries.tenants) as changed (row_key, tenant)
        on moved.row_key = changed.row_key
    where
        cardinality(entries.others_changed) > 0
        and {{ trueup.in_scope('tenant', 'changed', trueup.requested('tenants')) | indent(8) }}
),

counted_rows as (
    select count(*) as rows_moved
    from moved_rows
),

-- of the columns that the plan saw; none for a rollback, which compares nothing
planned_columns as (
    select
        listed.compared || listed.left_out || listed.column_name as all_names,
        ', but for ' || nullif(array_to_string(listed.left_out, ', '), '') as exception_words
    from places
    cross join
        lateral jsonb_to_recordset(places.options -> 'other_columns') as listed (
            table_name text, column_name text, compared text[], left_out text[]
        )
    where
        listed.table_name = {{ table_text }}
        and listed.column_name = {{ column_text }}
),

added_columns as (
    select
        'added since the plan and not compared: '
        || string_agg(quote_ident(pg_attribute.attname), ', ' order by pg_attribute.attnum)
            as words
    from planned_columns
    inner join pg_catalog.pg_attribute
        on
            pg_attribute.attrelid = {{ relation }}
            and pg_attribute.attnum > 0
            and not pg_attribute.attisdropped
            and pg_attribute.attname <> all(planned_columns.all_names)
),

-- the table, and its partitions where it has some
members as (
    select {{ relation }} as oid
    union
    select tree.relid as oid
    from pg_partition_tree({{ relation }}) as tree
),

managed_attributes as (
    select
        pg_attribute.attrelid,
        pg_attribute.attnum
    from members
    inner join pg_catalog.pg_attribute
        on
            members.oid = pg_attribute.attrelid
            and pg_attribute.attname = {{ column_text }}
            and not pg_attribute.attisdropped
),

-- is_later: it acts after a batch has compared the rows
followers as (
    select
        'trigger ' || quote_ident(pg_trigger.tgname) as follower,
        pg_trigger.tgtype & 2 = 0 as is_later
    from managed_attributes
    inner join pg_catalog.pg_trigger
        on managed_attributes.attrelid = pg_trigger.tgrelid
    where
        not pg_trigger.tgisinternal
        -- fires for this session, and on UPDATE: of this column, or of any
        and pg_trigger.tgenabled in ('O', 'A')
        and pg_trigger.tgtype & 16 <> 0
        and not {{ trueup.is_guard_trigger() | indent(8) }}
        and (
            cardinality(cast(pg_trigger.tgattr as int2[])) = 0
            or managed_attributes.attnum = any(cast(pg_trigger.tgattr as int2[]))
        )
    union
    select
        'rule ' || quote_ident(pg_rewrite.rulename) as follower,
        true as is_later
    from managed_attributes
    inner join pg_catalog.pg_rewrite
        on managed_attributes.attrelid = pg_rewrite.ev_class
    where
        pg_rewrite.ev_type = '2'
        and pg_rewrite.ev_enabled in ('O', 'A')
    union
    -- recorded for the expression or for the column, depending on the server's version
    select
        'generated column ' || quote_ident(computed.attname) as follower,
        false as is_later
    from managed_attributes
    inner join pg_catalog.pg_depend
        on
            pg_depend.refclassid = cast('pg_catalog.pg_class' as regclass)
            and managed_attributes.attrelid = pg_depend.refobjid
            and managed_attributes.attnum = pg_depend.refobjsubid
    left join pg_catalog.pg_attrdef
        on
            pg_depend.classid = cast('pg_catalog.pg_attrdef' as regclass)
            and pg_depend.objid = pg_attrdef.oid
    inner join pg_catalog.pg_attribute as computed
        on
            managed_attributes.attrelid = computed.attrelid
            and managed_attributes.attnum <> computed.attnum
            and computed.attgenerated <> ''
            and (
                pg_attrdef.adnum = computed.attnum
                or (
                    pg_depend.classid = cast('pg_catalog.pg_class' as regclass)
                    and managed_attributes.attrelid = pg_depend.objid
                    and pg_depend.objsubid = computed.attnum
                )
            )
),

followed_now as (
    select
        string_agg(followers.follower, ', ' order by followers.follower)
        || ' may move them' as words,
        string_agg(followers.follower, ', ' order by followers.follower)
        filter (where followers.is_later)
        || ' may move them after the comparison' as later_words
    from followers
),

-- in the words of the plan, which refuses a table with rules
followed_then as (
    select
        'the plan found: '
        || string_agg(findings.message, ', ' order by findings.message) as words,
        'the plan found: '
        || string_agg(findings.message, ', ' order by findings.message)
        filter (where findings.code in ('table__trigger_row', 'table__trigger_batch'))
            as later_words
    from places
    cross join
        lateral jsonb_to_recordset(places.findings) as findings (
            code text, subject text, message text
        )
    where
        findings.subject in ({{ table_text }}, {{ trueup.literal(cell) }})
        and findings.code in (
            'table__trigger_before',
            'table__trigger_sets',
            'table__trigger_row',
            'table__trigger_batch',
            'table__generated_columns'
        )
),

followed as (
    select
        coalesce(followed_now.words, followed_then.words) as words,
        coalesce(followed_now.later_words, followed_then.later_words) as later_words
    from followed_now
    cross join followed_then
),

-- missing: what a complete comparison has not seen
compared as (
    select
        counted_entries.*,
        counted_entries.entries_compared = counted_entries.entry_total as is_complete,
        nullif(concat_ws('; ', added_columns.words, followed.later_words), '') as missing,
        followed.words as followed_by,
        (select planned_columns.exception_words from planned_columns) as exception_words
    from counted_entries
    cross join followed
    cross join added_columns
),

judged as (
    select
        compared.*,
        counted_rows.rows_moved,
        places.restores,
        compared.followed_by is not null
        and (
            not compared.is_complete
            or (compared.missing is not null and compared.entry_total > 0)
        ) as is_open,
        case
            when compared.entry_total = 0 then 'no row was changed'
            when
                compared.followed_by is null
                and (not compared.is_complete or compared.missing <> '')
                then
                    'cannot move: the statement sets only this column, and no trigger, rule or'
                    || ' generated column follows it or did when the run was planned'
            when compared.is_complete
                then 'compared in every batch' || coalesce(compared.exception_words, '')
            when compared.entries_compared > 0
                then
                    'compared in ' || cast(compared.entries_compared as text) || ' of '
                    || cast(compared.entry_total as text) || ' entries of the audit'
            else 'not recorded'
        end as proof
    from places
    cross join compared
    cross join counted_rows
),

shown_rows as (
    select
        moved_rows.batch_id,
        moved_rows.row_key,
        jsonb_build_object(
            'status', 'fail',
            'message',
            {{ trueup.literal(cell ~ ', row ') }}
            || {{ trueup.one_line('moved_rows.row_key') }}
            || ': other columns changed with it, in batch ' || cast(moved_rows.batch_id as text),
            'table_name', {{ table_text }},
            'column_name', {{ column_text }},
            'tenant', moved_rows.tenant,
            'row_key', moved_rows.row_key,
            'batch_id', moved_rows.batch_id
        ) as offender
    from moved_rows
    union all
    select
        cast(null as bigint) as batch_id,
        cast(null as text) as row_key,
        jsonb_build_object(
            'status', 'info',
            'message',
            {{ trueup.literal(cell ~ ', other columns: ') }} || judged.proof || '; '
            || case when judged.is_complete then judged.missing else judged.followed_by end
            || case
                when judged.is_complete then ''
                when judged.restores then ', and a rollback compares nothing'
                else '; `trueup apply --hash-others` compares them'
            end,
            'table_name', {{ table_text }},
            'column_name', {{ column_text }}
        ) as offender
    from judged
    where judged.is_open
    order by
        batch_id asc nulls last,
        row_key asc
    limit {{ trueup.requested('most') | indent(4) }}
),

results as (
    select
        'other_columns_untouched' as code,
        case
            when judged.rows_moved > 0 then 'fail'
            when judged.is_open then 'info'
            else 'ok'
        end as status,
        {{ trueup.literal(cell ~ ': no other column of a changed row moved') }} as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || case
            when judged.rows_moved > 0
                then
                    'other columns of ' || cast(judged.rows_moved as text)
                    || ' changed rows moved, '
            else ''
        end || judged.proof as found,
        coalesce(
            (
                select
                    jsonb_agg(
                        shown_rows.offender
                        order by
                            shown_rows.batch_id asc nulls last,
                            shown_rows.row_key asc
                    ) as sample
                from shown_rows
            ),
            cast('[]' as jsonb)
        ) as sample,
        judged.rows_moved + case when judged.is_open then 1 else 0 end as rows
    from judged
)

select * from results
{%- endmacro -%}
