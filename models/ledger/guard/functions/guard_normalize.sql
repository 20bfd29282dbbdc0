-- The trigger function before a write, which exists only while the mode is `normalize`: a known
-- spelling becomes its canonical value. Any other value is left to guard_check.
create or replace function {{ this.include(database=false) }}()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    guarded record;
    written record;
    decided record;
    meant record;
    place integer;
begin
    {{ guarded_row('new') | indent(4) }}
    if decided.mode <> 'normalize' or decided.is_dry_run then
        return new;
    end if;
    select * into meant
    from {{ ref('guard_resolution') }}(guarded.vocabulary, written.raw_value);
    if meant.canonical_value is null or meant.canonical_value = written.raw_value then
        return new;
    end if;
    {{ recorded_event("'normalized'") | indent(4) }}
    new := jsonb_populate_record(
        new, jsonb_build_object(guarded.column_name, meant.canonical_value)
    );
    return new;
end;
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
