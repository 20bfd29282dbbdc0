-- Named statements that `trueup verify` reads for a run about documents.
{%- if app_state_settings().enabled %}
{%- set place = {'table': 'user_app_state', 'column': 'state'} %}

-- name: app_state__array_lengths(run_id, most)
-- Each element of an array is a row or is kept as refused, per user and table.
with {{ app_state_verified_users() }},

{{ app_state_touched_users() }},

lengths as (
    select
        users.user_id,
        users.refused,
        named.entity,
        jsonb_array_length(users.state -> named.array_key) as item_total
    from users
    cross join lateral jsonb_each_text(users.arrays) as named (entity, array_key)
    where users.is_present
),

row_counts as (
    {%- for entity in app_state_entities() %}
    select
        application.user_id,
        '{{ entity }}' as entity,
        count(*) as row_total
    from users
    inner join {{ target_table({'table': entity}) }} as application
        on users.user_id = application.user_id
    where application.source_id is not null
    group by application.user_id
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

refused_counts as (
    select
        users.user_id,
        kept.item ->> 'entity' as entity,
        count(*) as refused_total
    from users
    cross join lateral jsonb_array_elements(users.refused) as kept (item)
    group by
        users.user_id,
        kept.item ->> 'entity'
),

compared as (
    select
        lengths.user_id,
        lengths.entity,
        lengths.item_total,
        coalesce(row_counts.row_total, 0) as row_total,
        coalesce(refused_counts.refused_total, 0) as refused_total,
        touched_users.user_id is not null as is_touched
    from lengths
    left join row_counts
        on
            lengths.user_id = row_counts.user_id
            and lengths.entity = row_counts.entity
    left join refused_counts
        on
            lengths.user_id = refused_counts.user_id
            and lengths.entity = refused_counts.entity
    left join touched_users on lengths.user_id = touched_users.user_id
),

totals as (
    select sum(compared.item_total) as looked_at
    from compared
),

offenders as (
    select
        compared.user_id as row_key,
        case when compared.is_touched then 'warn' else 'fail' end as status,
        compared.user_id || ', ' || compared.entity || ': ' || compared.item_total || ' items, '
        || compared.row_total || ' rows, ' || compared.refused_total || ' refused'
        || case when compared.is_touched then '; rows were changed since' else '' end as message
    from compared
    where compared.item_total <> compared.row_total + compared.refused_total
),

{{ check_answer('array_lengths', 'items', place) }};

-- name: app_state__round_trip(run_id, most)
-- The document that the tables give back is the original, key by key.
with {{ app_state_verified_users() }},

{{ app_state_touched_users() }},

compared as (
    select
        users.user_id,
        users.state,
        users.is_present,
        again.state as state_again,
        touched_users.user_id is not null as is_touched
    from users
    left join {{ target_table({'table': 'app_state_documents'}) }} as again
        on users.user_id = again.user_id
    left join touched_users on users.user_id = touched_users.user_id
),

totals as (
    select count(*) as looked_at
    from compared
),

offenders as (
    select
        compared.user_id as row_key,
        case
            when compared.is_present and not compared.is_touched then 'fail'
            else 'warn'
        end as status,
        compared.user_id || case
            when not compared.is_present then ': the document was changed since'
            when compared.is_touched then ': rows were changed since'
            else ': differs from its document in ' || array_to_string(
                array(
                    select coalesce(was.name, now_is.name)
                    from jsonb_each(compared.state) as was (name, value)
                    full join jsonb_each(compared.state_again) as now_is (name, value)
                        on was.name = now_is.name
                    where was.value is distinct from now_is.value
                ), ', '
            )
        end as message
    from compared
    where compared.state is distinct from compared.state_again
),

{{ check_answer('round_trip', 'documents', place) }};

-- name: app_state__dangling_parents(run_id, most)
-- References to a parent that the document does not have: NULL in the table, flagged in extra. And
-- rows whose parent is gone although a foreign key forbids it.
with {{ app_state_verified_users() }},

links as (
    {%- for name, known in app_state_entities().items() %}
    {%- set outer = loop %}
    {%- for column, parent in known.parents.items() %}
    select
        users.user_id,
        '{{ name }}.{{ column }}' as link_name,
        application.{{ column }} is not null and parents.id is null as is_orphan,
        application.{{ column }} is null
        and application.extra #> '{_trueup,dangling}' ? '{{ known.parent_keys[column] }}'
            as is_dangling
    from users
    inner join {{ target_table({'table': name}) }} as application
        on users.user_id = application.user_id
    left join {{ target_table({'table': parent}) }} as parents
        on application.{{ column }} = parents.id
    {%- if not (outer.last and loop.last) %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endfor %}
),

totals as (
    select count(*) as looked_at
    from links
),

offenders as (
    select
        links.user_id as row_key,
        case when links.is_orphan then 'fail' else 'warn' end as status,
        links.user_id || ', ' || links.link_name || ': ' || case
            when links.is_orphan then 'the parent is gone'
            else 'the document has no such parent'
        end as message
    from links
    where links.is_orphan or links.is_dangling
),

{{ check_answer('dangling_parents', 'references', place) }};

{{ images_agree('app_state', app_state_targets(), place) }};
{%- endif %}
