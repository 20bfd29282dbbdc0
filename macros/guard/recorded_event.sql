{#-
    Record what the guard let pass or rewrote, in PL/pgSQL. The first events of a transaction are
    rows, the rest is only counted: a COPY of a million wrong rows must not write a million events.
    Needs the variables of guarded_row(), `meant` (a row of guard_resolution) and `place`, an
    integer that is set to the number of the event in its transaction.
    recorded_event("'normalized'") → place := ...; if place <= 100 then insert into ...
-#}
{%- macro recorded_event(outcome) -%}
place := 1 + case
    when current_setting('trueup.guard_events', true) ~ '^[0-9]{1,9}$'
        then cast(current_setting('trueup.guard_events', true) as integer)
    else 0
end;
perform set_config('trueup.guard_events', cast(place as text), true);
if place <= {{ trueup.guard_limits().events }} then
    select * into meant
    from {{ ref('guard_resolution') }}(guarded.vocabulary, written.raw_value);
    insert into {{ ref('guard_events') }} (
        scope, outcome, operation, tenant, raw_value, resolution, canonical_value
    )
    values (
        guarded.scope,
        {{ outcome }},
        lower(tg_op),
        written.tenant,
        left(written.raw_value, 200),
        meant.resolution,
        meant.canonical_value
    );
else
    perform nextval(cast(guarded.unrecorded_sequence as regclass));
end if;
{%- endmacro -%}
