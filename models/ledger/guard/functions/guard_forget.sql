-- Forget a column whose triggers and constraints are gone: its mode becomes off, its sequences go
-- with its row. Events and samples stay.
create or replace function {{ this.include(database=false) }}(scope text, reason text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    entry record;
begin
    select scopes.* into entry from {{ ref('guard_scopes') }} as scopes where scopes.scope = $1;
    if not found then
        return;
    end if;
    if cardinality({{ guard_objects('entry') | indent(4) }}) > 0 then
        raise exception 'the guard of % is still in force', $1;
    end if;
    perform {{ ref('set_mode') }}($1, 'off', reason => $2);
    delete from {{ ref('guard_scopes') }} as scopes where scopes.scope = $1;
    execute format('drop sequence %s, %s', entry.refused_sequence, entry.unrecorded_sequence);
end;
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
