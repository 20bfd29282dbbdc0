{#-
    Whether a row of pg_trigger is a trigger of the guard: by its name and by its function, so that
    no other trigger passes for one. A condition, never NULL. The guard's triggers change no other
    column than their own, and never a canonical value.
    is_guard_trigger() → coalesce(starts_with(...) and pg_trigger.tgfoid in (...), false)
-#}
{%- macro is_guard_trigger() -%}
{%- set schema = trueup.generate_schema_name('ledger') -%}
coalesce(
    starts_with(cast(pg_trigger.tgname as text), 'zz_trueup_')
    and pg_trigger.tgfoid in (
        to_regproc({{ trueup.literal(schema ~ '.guard_check') }}),
        to_regproc({{ trueup.literal(schema ~ '.guard_normalize') }})
    ),
    false
)
{%- endmacro -%}
