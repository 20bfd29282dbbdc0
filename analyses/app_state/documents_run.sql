-- Named statements of a run that moves documents into tables: what it is, which users a batch has,
-- and what is left to do.
{%- if app_state_settings().enabled %}
{%- set undo = [] %}
{%- for target in app_state_targets() | reverse %}
{%- do undo.append('undo__' ~ target.table) %}
{%- endfor %}

{{ run_kind('app_state', {
    'words': {'title': 'Documents', 'noun': 'run', 'done': 'written', 'promised': 'planned'},
    'rules': {
        'picked_by': [
            'app-state apply', 'resume', 'pause', 'cancel', 'status', 'verify', 'report', 'prune',
        ],
        'checks': [
            'batch_tracking', 'array_lengths', 'round_trip', 'dangling_parents', 'images_agree',
        ],
        'by_unit': 20,
        'by_keys': true,
        'lock_timeout_ms': 1000,
        'statement_timeout_ms': 60000,
    },
    'statements': {
        'keys': ['app_state__keys'],
        'change': ['app_state__write'],
        'tell': ['app_state__tell'],
        'reopen': ['app_state__reopen'],
        'missed': ['app_state__missed'],
    },
    'planning': {
        'plan': ['app_state__plan'],
        'check': [
            'app_state__array_lengths', 'app_state__round_trip', 'app_state__dangling_parents',
            'app_state__images_agree',
        ],
        'check_undone': ['app_state__images_agree'],
        'undo': undo,
    },
}) }}

-- name: app_state__keys(batch_ids)
-- The users of batches: each is a transaction of its own.
select
    batches.batch_id,
    count(*) as key_total,
    array_agg(
        cast(array[baselines.tenant] as text) order by baselines.tenant collate "C"
    ) as key_1
from {{ ref('stage_migration_batches') }} as batches
inner join {{ ref('migration_baselines') }} as baselines
    on
        batches.run_id = baselines.run_id
        and batches.table_name = baselines.table_name
        and batches.column_name = baselines.column_name
        and {{ app_state_in_batch('baselines.tenant', 'batches') | indent(8) }}
where batches.batch_id = any(cast($1 as bigint[]))
group by batches.batch_id;

-- name: app_state__reopen(run_id, lease_token)
-- Batches with a user whose document has changed since it was read are open again.
with {{ app_state_behind_users() }},

open_batches as (
    select distinct batches.batch_id
    from behind_users
    inner join {{ ref('stage_migration_batches') }} as batches
        on
            batches.run_id = $1
            and {{ app_state_in_batch('behind_users.user_id', 'batches') | indent(12) }}
    where not behind_users.is_refused
)

{{ reopened_batches('$2', own=true) }};

-- name: app_state__missed(run_id)
-- At the very end: documents that the run has not written, or not as they are now.
with {{ app_state_behind_users() }}

select
    'documents' as written_table,
    count(*) as row_count,
    count(*) filter (where not behind_users.is_written) as never_changed,
    min(behind_users.user_id) as example
from behind_users
where not behind_users.is_refused
having count(*) > 0;

-- name: app_state__tell(batch_id)
-- What a batch has written: rows of each table beside the lengths of the arrays, and a row with
-- what it belongs to.
with batch_users as (
    select
        baselines.tenant as user_id,
        baselines.row_counts
    from {{ ref('stage_migration_batches') }} as batches
    inner join {{ ref('migration_baselines') }} as baselines
        on
            batches.run_id = baselines.run_id
            and {{ app_state_in_batch('baselines.tenant', 'batches') | indent(12) }}
    where batches.batch_id = $1
),

lengths as (
    select
        planned.entity,
        sum(cast(planned.item_total as bigint)) as item_total
    from batch_users
    cross join lateral jsonb_each_text(batch_users.row_counts) as planned (entity, item_total)
    group by planned.entity
),

written as (
    {%- for entity in app_state_entities() %}
    select
        {{ loop.index }} as place,
        '{{ entity }}' as entity,
        count(*) as row_total
    from batch_users
    inner join {{ target_table({'table': entity}) }} as application
        on batch_users.user_id = application.user_id
    where application.source_id is not null
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

samples as (
    select
        'contents ' || contents.id || ' of ' || contents.user_id || ' (' || contents.source_id
        || ') belongs to personas '
        || coalesce(personas.id || ' (' || personas.source_id || ')', 'none') || ' of orgs '
        || coalesce(orgs.id || ' (' || orgs.source_id || ')', 'none') as message
    from batch_users
    inner join {{ target_table({'table': 'contents'}) }} as contents
        on batch_users.user_id = contents.user_id
    left join {{ target_table({'table': 'personas'}) }} as personas
        on contents.persona_id = personas.id
    left join {{ target_table({'table': 'orgs'}) }} as orgs on personas.org_id = orgs.id
    order by
        contents.user_id asc,
        contents.source_position asc
    limit 2
),

final as (
    select
        'Rows of items: ' || string_agg(
            written.entity || ' ' || written.row_total || ' of ' || coalesce(lengths.item_total, 0),
            ', ' order by written.place
        ) as message
    from written
    left join lengths on written.entity = lengths.entity
    union all
    select samples.message
    from samples
)

select * from final;
{%- endif %}
