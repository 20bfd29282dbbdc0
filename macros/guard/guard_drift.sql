{#-
    What the guard of each column is, compared with what its seeds and its mode ask for, as CTEs;
    no comma at the end. The last is `drift`: scope, code, status, arguments (text[]), sample
    (jsonb). A guarded column always has a row: guard__in_force if nothing is wrong.
    guard_drift() → configured ..., drift as (...)
-#}
{%- macro guard_drift() -%}
{{ trueup.guarded_columns() }},

{{ trueup.vocabulary_lists() }},

vocabulary_keys as (
    select * from {{ ref('int_vocabulary_keys') }}
),

changed_keys as (
    select
        coalesce(vocabulary_keys.vocabulary, installed.vocabulary) as vocabulary,
        count(*) as key_count,
        jsonb_agg(
            jsonb_build_object(
                'key', coalesce(vocabulary_keys.alias_key, installed.alias_key),
                'seeds', vocabulary_keys.accepted_value,
                'guard', installed.accepted_value
            )
            order by coalesce(vocabulary_keys.alias_key, installed.alias_key)
        ) as sample
    from vocabulary_keys
    full join {{ ref('guard_keys') }} as installed
        on
            vocabulary_keys.vocabulary = installed.vocabulary
            and vocabulary_keys.alias_key = installed.alias_key
    where
        vocabulary_keys.alias_key is null
        or installed.alias_key is null
        or coalesce(vocabulary_keys.accepted_value, '') <> coalesce(installed.accepted_value, '')
    group by coalesce(vocabulary_keys.vocabulary, installed.vocabulary)
),

compared as (
    select
        scopes.scope,
        scopes.ticked_at,
        scopes.vocabulary,
        recorded.mode,
        lists.canonical_values as listed_values,
        scopes.canonical_values,
        changed_keys.key_count,
        changed_keys.sample,
        scopes.definitions,
        guarded.scope is not null as is_managed,
        coalesce(
            guarded.refuses_null <> scopes.refuses_null
            or guarded.refuses_blank <> scopes.refuses_blank,
            true
        ) as has_other_policy,
        {{ trueup.guard_objects('scopes') | indent(8) }} as found
    from {{ ref('guard_scopes') }} as scopes
    left join guarded on scopes.scope = guarded.scope
    left join lists on scopes.vocabulary = lists.vocabulary
    left join changed_keys on scopes.vocabulary = changed_keys.vocabulary
    left join {{ ref('validation_mode_current') }} as recorded on scopes.scope = recorded.scope
),

judged_scopes as (
    select
        compared.*,
        case
            when not compared.is_managed then 'guard__not_managed'
            when compared.found <> compared.definitions then 'guard__other_objects'
            when coalesce(compared.listed_values <> compared.canonical_values, true)
                then 'guard__other_values'
            when compared.key_count > 0 then 'guard__other_keys'
            when compared.has_other_policy then 'guard__other_policy'
            when
                (coalesce(compared.mode, '') = 'normalize')
                <> (array_to_string(compared.found, ' ') like '%guard_normalize%')
                then 'guard__other_mode'
            else 'guard__in_force'
        end as code
    from compared
),

drift as (
    select
        judged_scopes.scope,
        judged_scopes.code,
        case
            when judged_scopes.code = 'guard__in_force' then 'ok'
            when judged_scopes.code = 'guard__other_mode' then 'warn'
            else 'fail'
        end as status,
        array[
            judged_scopes.scope,
            cast(cardinality(judged_scopes.definitions) as text),
            cast(coalesce(judged_scopes.key_count, 0) as text),
            coalesce(array_to_string(judged_scopes.listed_values, ', '), ''),
            array_to_string(judged_scopes.canonical_values, ', '),
            case when judged_scopes.mode = 'sealed' then 'seal' else 'install' end
        ] as arguments,
        case
            when judged_scopes.code = 'guard__other_keys' then judged_scopes.sample
            when judged_scopes.code = 'guard__other_objects'
                then jsonb_build_array(
                    jsonb_build_object(
                        'installed', judged_scopes.definitions,
                        'found', judged_scopes.found
                    )
                )
        end as sample
    from judged_scopes
    union all
    -- nothing was counted: the evidence for a step has a hole
    select
        judged_scopes.scope,
        'guard__tick_late' as code,
        'warn' as status,
        array[
            judged_scopes.scope,
            coalesce(to_char(judged_scopes.ticked_at, 'YYYY-MM-DD HH24:MI'), 'never')
        ] as arguments,
        cast(null as jsonb) as sample
    from judged_scopes
    where
        coalesce(judged_scopes.ticked_at < now() - interval '5 minutes', true)
        and coalesce(judged_scopes.mode, '') <> 'sealed'
)
{%- endmacro -%}
