{#-
    The check sample_inspection, one row for a column of the run, as CTEs and the last select of a
    statement that begins with verification_request(): changed rows for a person to review, each
    with the present value and the alias that decides the value before.

    request.sample_size rows are drawn from all columns of the run; each column's statement draws
    the same rows and shows its own. The changes are numbered batch by batch, from the counts of the
    batches; only the audit entries with a drawn number are read. If tenants are selected, the
    audit's lists of tenants are read and counted.
    check_sample(entry) → run_columns as ( ... ), ... select * from results
-#}
{%- macro check_sample(entry) -%}
{%- set cell = entry.table ~ '.' ~ entry.column -%}
{%- set size = 'cast(' ~ trueup.requested('sample_size') ~ ' as bigint)' -%}
{%- set tenants = trueup.requested('tenants') -%}
control as (
    select * from {{ ref('stage_migration_control') }}
),

batches as {{ trueup.read_in_place() }} (
    select * from {{ ref('stage_migration_batches') }}
),

changes as {{ trueup.read_in_place() }} (
    select * from {{ ref('stage_normalization_changes') }}
),

value_map as (
    select * from {{ ref('migration_value_map') }}
),

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

aliases as (
    select * from {{ ref(trueup.vocabularies()[entry.vocabulary].alias_seed) }}
),

-- how many changes of the tenants in scope a batch has
counted_batches as {{ trueup.computed_once() }} (
    select
        batches.batch_id,
        batches.table_name,
        batches.column_name,
        case
            when {{ tenants }} is null
                then batches.rows_updated
            else
                (
                    select count(*) as row_count
                    from changes
                    cross join unnest(changes.tenants) as changed (tenant)
                    where
                        changes.batch_id = batches.batch_id
                        and array_position(
                            {{ tenants }},
                            changed.tenant
                        ) is not null
                )
        end as row_count
    from batches
    where
        batches.run_id = {{ trueup.requested('run_id') }}
        and batches.rows_updated > 0
        and {{ trueup.of_request('batches.table_name') | indent(8) }}
),

numbered_batches as {{ trueup.computed_once() }} (
    select
        counted_batches.*,
        -- the changes of all batches before
        cast(
            sum(counted_batches.row_count) over (order by counted_batches.batch_id)
            - counted_batches.row_count as bigint
        ) as start_number
    from counted_batches
    where counted_batches.row_count > 0
),

totals as (
    select
        cast(coalesce(sum(numbered_batches.row_count), 0) as bigint) as change_total,
        coalesce(
            sum(numbered_batches.row_count) filter (
                where
                numbered_batches.table_name = {{ trueup.literal(entry.table) }}
                and numbered_batches.column_name = {{ trueup.literal(entry.column) }}
            ),
            0
        ) as column_total
    from numbered_batches
),

-- The same numbers for the same seed: those with the smallest hashes are drawn. If there are few
-- changes, all take part; if there are many, numbers are made from hashes, more than needed,
-- because some are equal.
lots as (
    select
        cast(lots.lot as bigint) as lot,
        totals.change_total,
        cast(request.sample_size as bigint) * 20 as lot_total,
        hashtextextended(
            {{ trueup.binary_text('lots.lot') }}, request.seed
        ) & 9223372036854775807 as lot_hash
    from request
    cross join totals
    cross join
        generate_series(
            1, least(totals.change_total, cast(request.sample_size as bigint) * 20)
        ) as lots (lot)
),

numbered_lots as (
    select
        case
            when lots.change_total <= lots.lot_total then lots.lot - 1
            else mod(lots.lot_hash, lots.change_total)
        end as change_number,
        lots.lot_hash
    from lots
),

drawn_numbers as (
    select
        numbered_lots.change_number,
        row_number() over (
            order by
                min(numbered_lots.lot_hash),
                numbered_lots.change_number
        ) as place
    from numbered_lots
    group by numbered_lots.change_number
),

-- In the order of numbers, a change belongs to the batch that began last.
places as (
    select
        numbered_batches.start_number as change_number,
        numbered_batches.batch_id,
        numbered_batches.start_number,
        false as is_drawn
    from numbered_batches
    union all
    select
        drawn_numbers.change_number,
        cast(null as bigint) as batch_id,
        cast(null as bigint) as start_number,
        true as is_drawn
    from drawn_numbers
    where drawn_numbers.place <= {{ size }}
),

placed_numbers as (
    select
        places.change_number,
        places.is_drawn,
        max(places.batch_id) over (
            order by
                places.change_number,
                places.is_drawn
        ) as batch_id,
        max(places.start_number) over (
            order by
                places.change_number,
                places.is_drawn
        ) as start_number
    from places
),

-- those of this column, with their place in the batch, from 1
drawn_changes as {{ trueup.computed_once() }} (
    select
        placed_numbers.change_number,
        placed_numbers.batch_id,
        placed_numbers.change_number - placed_numbers.start_number + 1 as place_in_batch
    from placed_numbers
    inner join batches
        on placed_numbers.batch_id = batches.batch_id
    where
        placed_numbers.is_drawn
        and batches.table_name = {{ trueup.literal(entry.table) }}
        and batches.column_name = {{ trueup.literal(entry.column) }}
),

-- a batch has one entry, or several if it was done in pieces
counted_entries as {{ trueup.computed_once() }} (
    select
        changes.batch_id,
        changes.entry_id,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        case
            when {{ tenants }} is null
                then cardinality(changes.row_keys)
            else
                (
                    select count(*) as row_count
                    from unnest(changes.tenants) as changed (tenant)
                    where
                        array_position(
                            {{ tenants }},
                            changed.tenant
                        ) is not null
                )
        end as row_count
    from changes
    where
        exists (
            select 1 as found
            from drawn_changes
            where drawn_changes.batch_id = changes.batch_id
        )
),

numbered_entries as (
    select
        counted_entries.*,
        sum(counted_entries.row_count) over (
            partition by counted_entries.batch_id
            order by counted_entries.entry_id
        ) as last_place
    from counted_entries
),

hit_entries as (
    select
        drawn_changes.change_number,
        numbered_entries.batch_id,
        numbered_entries.row_keys,
        numbered_entries.tenants,
        numbered_entries.map_ids,
        drawn_changes.place_in_batch - numbered_entries.last_place + numbered_entries.row_count
            as place_in_entry
    from drawn_changes
    inner join numbered_entries
        on
            drawn_changes.batch_id = numbered_entries.batch_id
            and drawn_changes.place_in_batch <= numbered_entries.last_place
            and drawn_changes.place_in_batch
            > numbered_entries.last_place - numbered_entries.row_count
),

drawn_subscripts as {{ trueup.computed_once() }} (
    select
        hit_entries.*,
        case
            when {{ tenants }} is null
                then cast(hit_entries.place_in_entry as integer)
            else
                (
                    select
                        (array_agg(cast(changed.subscript as integer) order by changed.subscript))[
                            cast(hit_entries.place_in_entry as integer)
                        ] as subscript
                    from
                        unnest(hit_entries.tenants) with ordinality
                            as changed (tenant, subscript)
                    where
                        array_position(
                            {{ tenants }},
                            changed.tenant
                        ) is not null
                )
        end as subscript
    from hit_entries
),

audited_rows as {{ trueup.computed_once() }} (
    select
        drawn_subscripts.change_number,
        drawn_subscripts.batch_id,
        drawn_subscripts.row_keys[drawn_subscripts.subscript] as row_key,
        drawn_subscripts.tenants[drawn_subscripts.subscript] as tenant,
        drawn_subscripts.map_ids[drawn_subscripts.subscript] as map_id
    from drawn_subscripts
),

keyed_rows as (
    select
        audited_rows.*,
        -- a key that does not fit the table's key matches no row
        case
            when
                {{ trueup.is_readable_key(entry.key, 'audited_rows.row_key') | indent(16) }}
                then audited_rows.row_key
        end as readable_key
    from audited_rows
),

typed_rows as (
    select
        keyed_rows.*,
        {{ trueup.key_from_text(entry.key, 'keyed_rows.readable_key', numbered=true)
            | replace(', cast(', ',\n        cast(') }}
    from keyed_rows
),

-- row by row, by the index of the key: a join could read the whole table
current_rows as {{ trueup.computed_once() }} (
    select
        typed_rows.change_number,
        typed_rows.batch_id,
        typed_rows.row_key,
        typed_rows.tenant,
        value_map.value_before,
        value_map.value_after,
        value_map.match_type,
        (
            select
                array_agg(
                    {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }}
                ) as values_now
            from {{ trueup.application_table(entry) }} as application
            where
                ({{ trueup.key_columns(entry.key, 'application') }})
                = ({{ trueup.key_columns(trueup.numbered_key(entry.key), 'typed_rows') }})
        ) as values_now
    from typed_rows
    left join value_map
        on
            typed_rows.map_id = value_map.map_id
            and value_map.run_id = {{ trueup.requested('run_id') }}
            and value_map.table_name = {{ trueup.literal(entry.table) }}
            and value_map.column_name = {{ trueup.literal(entry.column) }}
),

observed_values as (
    select
        {{ trueup.literal(entry.vocabulary) }} as vocabulary,
        current_rows.value_before as raw_value
    from current_rows
    where current_rows.value_before is not null
    group by current_rows.value_before
),

{{ trueup.resolve('observed_values') }},

meanings as {{ trueup.computed_once() }} (
    select
        resolved_values.raw_value,
        resolved_values.canonical_value,
        resolved_values.matched_alias
    from resolved_values
),

decisions as {{ trueup.computed_once() }} (
    select
        aliases.alias_text,
        max(aliases.reason) as reason,
        max(aliases.added_by) as added_by,
        max(aliases.added_on) as added_on
    from aliases
    group by aliases.alias_text
),

-- an alias that has been given another meaning since did not decide
sampled_rows as (
    select
        current_rows.*,
        current_rows.values_now is not null as is_there,
        current_rows.values_now[1] as value_now,
        meanings.matched_alias,
        decisions.reason,
        decisions.added_by,
        decisions.added_on
    from current_rows
    left join meanings
        on
            current_rows.value_before = meanings.raw_value
            and current_rows.value_after = meanings.canonical_value
    left join decisions
        on meanings.matched_alias = decisions.alias_text
),

shown_rows as (
    select
        sampled_rows.*,
        {{ trueup.literal(cell ~ ', row ') }} || coalesce(sampled_rows.row_key, '?')
        || ': ' || coalesce('''' || sampled_rows.value_before || '''', '?')
        || ' → ' || coalesce('''' || sampled_rows.value_after || '''', '?')
        || case
            when not sampled_rows.is_there then ', now gone'
            else ', now ' || coalesce('''' || sampled_rows.value_now || '''', 'NULL')
        end
        || coalesce(', by alias ''' || sampled_rows.matched_alias || '''', '') as message
    from sampled_rows
    order by sampled_rows.change_number
    limit {{ trueup.requested('most') }}
),

shown_offenders as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'info',
                'message',
                {{ trueup.one_line('shown_rows.message') }},
                'table_name', {{ trueup.literal(entry.table) }},
                'column_name', {{ trueup.literal(entry.column) }},
                'row_key', shown_rows.row_key,
                'tenant', shown_rows.tenant,
                'batch_id', shown_rows.batch_id,
                'value_before', shown_rows.value_before,
                'value_after', shown_rows.value_after,
                'value_now', shown_rows.value_now,
                'is_there', shown_rows.is_there,
                'alias', shown_rows.matched_alias,
                'match_type', shown_rows.match_type,
                'reason', shown_rows.reason,
                'added_by', shown_rows.added_by,
                'added_on', shown_rows.added_on
            )
            order by shown_rows.change_number
        ) as sample
    from shown_rows
),

counted_rows as (
    select count(*) as row_count
    from sampled_rows
),

run_columns as (
    select * from control
    where
        control.run_id = {{ trueup.requested('run_id') }}
        and control.table_name = {{ trueup.literal(entry.table) }}
        and control.column_name = {{ trueup.literal(entry.column) }}
        and {{ trueup.of_request('control.table_name') | indent(8) }}
),

results as (
    select
        'sample_inspection' as code,
        'info' as status,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(least(request.sample_size, totals.change_total) as text) || ' of '
        || cast(totals.change_total as text) || ' changes of the run, seed '
        || cast(request.seed as text) as expected,
        {{ trueup.literal(cell ~ ': ') }}
        || cast(counted_rows.row_count as text) || ' of its '
        || cast(totals.column_total as text) || ' changes are among them' as found,
        coalesce(shown_offenders.sample, cast('[]' as jsonb)) as sample,
        counted_rows.row_count as rows
    from request
    cross join run_columns
    cross join totals
    cross join counted_rows
    cross join shown_offenders
)

select * from results
{%- endmacro -%}
