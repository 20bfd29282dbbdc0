control as (
    select * from stage_migration_control
),

batches as not materialized (
    select * from stage_migration_batches
),

changes as not materialized (
    select * from stage_normalization_changes
),

value_map as (
    select * from migration_value_map
),

vocabulary_keys as (
    select * from int_vocabulary_keys
),

aliases as (
    select * from stage_aliases
),

-- how many changes of the tenants in scope a batch has
counted_batches as materialized (
    select
        batches.batch_id,
        batches.table_name,
        batches.column_name,
        case
            when (select request.tenants from request) is null
                then batches.rows_updated
            else
                (
                    select count(*) as row_count
                    from changes
                    cross join unnest(changes.tenants) as changed (tenant)
                    where
                        changes.batch_id = batches.batch_id
                        and array_position(
                            (select request.tenants from request),
                            changed.tenant
                        ) is not null
                )
        end as row_count
    from batches
    where
        batches.run_id = (select request.run_id from request)
        and batches.rows_updated > 0
        and (
            (select request.table_names from request) is null
            or array_position(
                (select request.table_names from request),
                batches.table_name
            ) is not null
        )
),

numbered_batches as materialized (
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
                numbered_batches.table_name = 'deals'
                and numbered_batches.column_name = 'stage'
            ),
            0
        ) as column_total
    from numbered_batches
),

-- The same numbers for the same seed, and those with the smallest hashes win. Of few changes all
-- are in it; of many a number is made of the hash, for more than are needed: some come twice.
lots as (
    select
        cast(lots.lot as bigint) as lot,
        totals.change_total,
        cast(request.sample_size as bigint) * 20 as lot_total,
        hashtextextended(
            cast(lots.lot as text) collate "C", request.seed
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
    where drawn_numbers.place <= cast((select request.sample_size from request) as bigint)
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
drawn_changes as materialized (
    select
        placed_numbers.change_number,
        placed_numbers.batch_id,
        placed_numbers.change_number - placed_numbers.start_number + 1 as place_in_batch
    from placed_numbers
    inner join batches
        on placed_numbers.batch_id = batches.batch_id
    where
        placed_numbers.is_drawn
        and batches.table_name = 'deals'
        and batches.column_name = 'stage'
),

-- a batch has an entry, or several where it was done in pieces
counted_entries as materialized (
    select
        changes.batch_id,
        changes.run_at,
        changes.row_keys,
        changes.tenants,
        changes.map_ids,
        case
            when (select request.tenants from request) is null
                then cardinality(changes.row_keys)
            else
                (
                    select count(*) as row_count
                    from unnest(changes.tenants) as changed (tenant)
                    where
                        array_position(
                            (select request.tenants from request),
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
            order by
                counted_entries.run_at,
                counted_entries.row_keys[1]
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

drawn_subscripts as materialized (
    select
        hit_entries.*,
        case
            when (select request.tenants from request) is null
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
                            (select request.tenants from request),
                            changed.tenant
                        ) is not null
                )
        end as subscript
    from hit_entries
),

audited_rows as materialized (
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
        -- a key that nobody could have written with this table finds no row
        case
            when
                case
                    when audited_rows.row_key ~ '^-?[0-9]{1,19}$'
                        then
                            cast(audited_rows.row_key as numeric)
                            between -9223372036854775808 and 9223372036854775807
                    else false
                end
                then audited_rows.row_key
        end as readable_key
    from audited_rows
),

typed_rows as (
    select
        keyed_rows.*,
        cast(keyed_rows.readable_key as bigint) as key_1
    from keyed_rows
),

-- row by row, by the index of the key: a join could read the whole table
current_rows as materialized (
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
                    cast(application.stage as text) collate "C"
                ) as values_now
            from public.deals as application
            where
                (application.id)
                = (typed_rows.key_1)
        ) as values_now
    from typed_rows
    left join value_map
        on
            typed_rows.map_id = value_map.map_id
            and value_map.run_id = (select request.run_id from request)
            and value_map.table_name = 'deals'
            and value_map.column_name = 'stage'
),

observed_values as (
    select
        'stage' as vocabulary,
        current_rows.value_before as raw_value
    from current_rows
    where current_rows.value_before is not null
    group by current_rows.value_before
),

-- The text key of every value. Materialized: it is dear, and would be computed again by every join.
keyed_values as materialized (
    select
        observed_values.*,
        btrim(
            replace(
                -- 7. a list stays a list: 'seed/ series a' → 'seed / series a'; single spaces
                regexp_replace(
                    regexp_replace(
                        -- 4. to 6. one character for another: case, look-alikes, separators
                        translate(
                            -- 3. what cannot be seen
                            regexp_replace(
                                -- 1. an escape written out is a space; 2. decomposition
                                normalize(
                                    regexp_replace(
                                        observed_values.raw_value, '\\+[nrt]', ' ', 'g'
                                    ),
                                    nfkd
                                ),
                                '['
                                -- combining marks: accents, after decomposition
                                || '\u0300-\u0333\u0339-\u036F\u0483-\u0487\u1AB0-\u1AFF'
                                || '\u1DC0-\u1DFF\uFE20-\uFE2F'
                                -- zero-width and direction characters, soft hyphen, byte order mark
                                || '\u00AD\u061C\u200B-\u200F\u202A-\u202E'
                                || '\u2060-\u206F\uFEFF'
                                -- fillers, inherent vowels, variation selectors, tags
                                || '\u115F\u1160\u17B4\u17B5'
                                || '\u180B-\u180F\u3164\uFE00-\uFE0F\uFFA0'
                                || '\U000E0000-\U000E0FFF'
                                || ']',
                                '',
                                'g'
                            ),
                            'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
                            -- Cyrillic capitals А В С Е Н І Ј К М О Р Ѕ Т У Х Ь
                            || U&'\0410\0412\0421\0415\041D\0406\0408\041A\041C\041E'
                            || U&'\0420\0405\0422\0423\0425\042C'
                            -- Cyrillic small а с е һ і ј о р ѕ у х ь ԁ ԛ ԝ
                            || U&'\0430\0441\0435\04BB\0456\0458\043E\0440\0455\0443'
                            || U&'\0445\044C\0501\051B\051D'
                            -- Greek Α Β Ε Ζ Η Ι Κ Μ Ν Ο Ρ Τ Υ Χ ο ν ϳ
                            || U&'\0391\0392\0395\0396\0397\0399\039A\039C\039D\039F'
                            || U&'\03A1\03A4\03A5\03A7\03BF\03BD\03F3'
                            -- Latin dotless ı and script ɡ
                            || U&'\0131\0261'
                            || ',;&|'
                            -- slashes, commas, semicolons of other scripts, bullets, bars
                            || U&'\2044\2215\29F8\060C\061B\3001\2022\2027\00B7\30FB'
                            || U&'\2219\22C5\25CF\25AA\2502\2016'
                            || '-_.:''"()[]#*`'
                            -- tab, line feed, carriage return and other white space
                            || U&'\0009\000A\000B\000C\000D\001C\001D\001E\001F\0085'
                            || U&'\1680\2028\2029'
                            -- dashes and minus signs
                            || U&'\2010\2011\2012\2013\2014\2015\2212\02D7\2043\2796'
                            || U&'\2E3A\2E3B'
                            -- quotation marks, primes and apostrophes
                            || U&'\2018\2019\201A\201B\201C\201D\201E\201F\2039\203A'
                            || U&'\00AB\00BB\2032\02B9\02BC\301D\301E\301F'
                            -- brackets of other scripts, ideographic full stop, asterisks
                            || U&'\27E8\27E9\3008\3009\300A\300B\300C\300D\300E\300F'
                            || U&'\3010\3011\3014\3015\3016\3017\3018\3019\301A\301B'
                            || U&'\3002\2217\204E',
                            'abcdefghijklmnopqrstuvwxyz'
                            || 'abcehijkmopstyxb'
                            || 'acehijopsyxbdqw'
                            || 'abezhikmnoptyxovj'
                            || 'ig'
                            || repeat('/', 20)
                            || repeat(' ', 79)
                        ),
                        ' *(/ *)+',
                        ' / ',
                        'g'
                    ),
                    ' +',
                    ' ',
                    'g'
                ),
                ' +',
                '+'
            ),
            ' /'
        ) as text_key
    from observed_values
),

bare_values as materialized (
    select
        keyed_values.*,
        case keyed_values.vocabulary
            when 'stage'
                then regexp_replace(
                    keyed_values.text_key,
                    '( ('
                    || 'round|rounds|funding|stage|phase|extension'
                    || '|runde'
                    || '))+$',
                    ''
                )
            when 'tier'
                then keyed_values.text_key
        end as bare_key
    from keyed_values
),

-- The key decides. Only where no alias has it, the key without noise words does, if two characters
-- are left of it.
matched_values as (
    select
        bare_values.*,
        coalesce(whole_key.alias_key, rest_of_key.alias_key) as matched_key
    from bare_values
    left join vocabulary_keys as whole_key
        on
            bare_values.vocabulary = whole_key.vocabulary
            and bare_values.text_key = whole_key.alias_key
    left join vocabulary_keys as rest_of_key
        on
            bare_values.vocabulary = rest_of_key.vocabulary
            and bare_values.bare_key = rest_of_key.alias_key
            and char_length(rest_of_key.alias_key) >= 2
),

resolved_values as (
    select
        matched_values.*,
        case
            when matched_values.raw_value is null then 'null'
            when
                regexp_replace(
                    matched_values.raw_value,
                    '['
                    -- white space
                    || '\u0009-\u000D\u001C-\u0020\u0085\u00A0'
                    || '\u1680\u2000-\u200A\u2028\u2029'
                    || '\u202F\u205F\u3000'
                    -- combining marks: accents, after decomposition
                    || '\u0300-\u0333\u0339-\u036F\u0483-\u0487\u1AB0-\u1AFF'
                    || '\u1DC0-\u1DFF\uFE20-\uFE2F'
                    -- zero-width and direction characters, soft hyphen, byte order mark
                    || '\u00AD\u061C\u200B-\u200F\u202A-\u202E'
                    || '\u2060-\u206F\uFEFF'
                    -- fillers, inherent vowels, variation selectors, tags
                    || '\u115F\u1160\u17B4\u17B5'
                    || '\u180B-\u180F\u3164\uFE00-\uFE0F\uFFA0'
                    || '\U000E0000-\U000E0FFF'
                    || ']',
                    '',
                    'g'
                ) = ''
                then 'blank'
            when vocabulary_keys.alias_key is null then 'unknown'
            when matched_values.raw_value = vocabulary_keys.canonical_value then 'canonical'
            else vocabulary_keys.match_type
        end as resolution,
        vocabulary_keys.accepted_value as canonical_value,
        vocabulary_keys.alias_text as matched_alias
    from matched_values
    left join vocabulary_keys
        on
            matched_values.vocabulary = vocabulary_keys.vocabulary
            and matched_values.matched_key = vocabulary_keys.alias_key
),

meanings as materialized (
    select
        resolved_values.raw_value,
        resolved_values.canonical_value,
        resolved_values.matched_alias
    from resolved_values
),

decisions as materialized (
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
        'deals.stage, row ' || coalesce(sampled_rows.row_key, '?')
        || ': ' || coalesce('''' || sampled_rows.value_before || '''', '?')
        || ' → ' || coalesce('''' || sampled_rows.value_after || '''', '?')
        || case
            when not sampled_rows.is_there then ', now gone'
            else ', now ' || coalesce('''' || sampled_rows.value_now || '''', 'NULL')
        end
        || coalesce(', by alias ''' || sampled_rows.matched_alias || '''', '') as message
    from sampled_rows
    order by sampled_rows.change_number
    limit (select request.most from request)
),

shown_offenders as (
    select
        jsonb_agg(
            jsonb_build_object(
                'status', 'info',
                'message',
                translate(shown_rows.message, E'\t\n\x0b\f\r', '␉␊␋␌␍'),
                'table_name', 'deals',
                'column_name', 'stage',
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
        ) as offenders
    from shown_rows
),

counted_rows as (
    select count(*) as row_count
    from sampled_rows
),

run_columns as (
    select * from control
    where
        control.run_id = (select request.run_id from request)
        and control.table_name = 'deals'
        and control.column_name = 'stage'
        and (
            (select request.table_names from request) is null
            or array_position(
                (select request.table_names from request),
                control.table_name
            ) is not null
        )
),

results as (
    select
        'sample_inspection' as check_id,
        'info' as status,
        'deals.stage: '
        || cast(least(request.sample_size, totals.change_total) as text) || ' of '
        || cast(totals.change_total as text) || ' changes of the run, seed '
        || cast(request.seed as text) as expected,
        'deals.stage: '
        || cast(counted_rows.row_count as text) || ' of its '
        || cast(totals.column_total as text) || ' changes are among them' as actual,
        coalesce(shown_offenders.offenders, cast('[]' as jsonb)) as offenders,
        counted_rows.row_count as offender_count
    from request
    cross join run_columns
    cross join totals
    cross join counted_rows
    cross join shown_offenders
)

select * from results
