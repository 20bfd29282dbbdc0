-- Record what was installed on a column: settings is a row of guard_scopes as an object, keys are
-- the rows of guard_keys of its vocabulary, which replace those that are there. Called by
-- `trueup guard install` in the transaction that made the triggers; the table's owner needs no
-- other right in the ledger. PL/pgSQL, because a sequence is made under a name that is not known.
create or replace function {{ this.include(database=false) }}(settings jsonb, keys jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    entry record;
    kind text;
    place text := 'guard_' || left(md5(settings ->> 'scope'), 16);
begin
    select * into entry
    from jsonb_populate_record(cast(null as {{ ref('guard_scopes') }}), settings);
    delete from {{ ref('guard_keys') }} where vocabulary = entry.vocabulary;
    insert into {{ ref('guard_keys') }}
    select * from jsonb_populate_recordset(cast(null as {{ ref('guard_keys') }}), keys);

    foreach kind in array array['refused', 'unrecorded'] loop
        execute format(
            'create sequence if not exists %I.%I owned by %I.guard_scopes.%I',
            {{ literal(generate_schema_name('ledger')) }},
            place || '_' || kind,
            {{ literal(generate_schema_name('ledger')) }},
            kind || '_sequence'
        );
    end loop;

    insert into {{ ref('guard_scopes') }} (
        scope, schema_name, table_name, column_name, tenant_column, vocabulary, vocabulary_version,
        canonical_values, environment, refuses_null, refuses_blank, definitions, refused_sequence,
        unrecorded_sequence
    )
    select
        entry.scope,
        entry.schema_name,
        entry.table_name,
        entry.column_name,
        entry.tenant_column,
        entry.vocabulary,
        entry.vocabulary_version,
        entry.canonical_values,
        entry.environment,
        entry.refuses_null,
        entry.refuses_blank,
        {{ guard_objects('entry') | indent(8) }},
        format('%I.%I', {{ literal(generate_schema_name('ledger')) }}, place || '_refused'),
        format('%I.%I', {{ literal(generate_schema_name('ledger')) }}, place || '_unrecorded')
    on conflict (scope) do update set
        tenant_column = excluded.tenant_column,
        vocabulary = excluded.vocabulary,
        vocabulary_version = excluded.vocabulary_version,
        canonical_values = excluded.canonical_values,
        environment = excluded.environment,
        refuses_null = excluded.refuses_null,
        refuses_blank = excluded.refuses_blank,
        definitions = excluded.definitions,
        installed_by = session_user,
        installed_at = now();
end;
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
