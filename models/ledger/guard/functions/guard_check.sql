-- The trigger function after a write, called only for values that are not in the trigger's list of
-- canonical values. It refuses the write, or warns and records it, as validation_decision says.
-- security definer: whoever writes needs no right in the ledger.
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
    message text;
    advice text;
begin
    {{ guarded_row('null') | indent(4) }}
    -- the list of the trigger may be older than the keys, and leaves out what may be empty
    if
        decided.mode = 'off'
        or written.raw_value = any(guarded.canonical_values)
        or (written.raw_value is null and not guarded.refuses_null)
        or (
            not guarded.refuses_blank
            and {{ is_blank('written.raw_value') | indent(12) }}
        )
    then
        return null;
    end if;

    message := format(
        '%s.%s: %s is not an accepted %s',
        guarded.table_name,
        guarded.column_name,
        coalesce('"' || left(written.raw_value, 200) || '"', 'NULL'),
        replace(guarded.vocabulary, '_', ' ')
    );
    if decided.should_enforce then
        select * into meant
        from {{ ref('guard_resolution') }}(guarded.vocabulary, written.raw_value);
        -- what a refusal would record is rolled back with it; a sequence is not
        perform nextval(cast(guarded.refused_sequence as regclass));
    else
        {{ recorded_event(
            "case when decided.should_emit_would_reject then 'would_reject' else 'warned' end"
        ) | indent(8) }}
        if place > {{ guard_limits().notices }} then
            return null;
        end if;
    end if;

    advice := coalesce('Use "' || meant.canonical_value || '". ', '')
        || 'Accepted: ' || array_to_string(guarded.canonical_values, ', ') || '.';
    if decided.should_enforce then
        raise exception using
            errcode = 'check_violation',
            message = message,
            hint = advice,
            schema = guarded.schema_name,
            table = guarded.table_name,
            column = guarded.column_name,
            constraint = tg_name;
    end if;
    raise warning using
        errcode = '01S01',
        message = message,
        hint = advice,
        schema = guarded.schema_name,
        table = guarded.table_name,
        column = guarded.column_name,
        constraint = tg_name;
    return null;
end;
$function$;

revoke execute on function {{ this.include(database=false) }} from public;
