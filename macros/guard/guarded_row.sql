{#-
    The beginning of a trigger function of the guard, in PL/pgSQL: the variables `guarded` (the row
    of guard_scopes), `written` (raw_value and tenant of the new row, as text) and `decided` (what
    validation_decision says) are set. A trigger whose scope is gone does nothing.
    guarded_row("null") → select * into guarded from ... ;

    answer: what the function returns to leave the row as it is: null after, new before the write
    The row's own type is known only when the trigger fires, hence `execute`.
-#}
{%- macro guarded_row(answer) -%}
select * into guarded
from {{ ref('guard_scopes') }} as scopes
where scopes.scope = tg_argv[0];
if not found then
    return {{ answer }};
end if;
execute format(
    'select cast(($1).%I as text) as raw_value, cast(%s as text) as tenant',
    guarded.column_name,
    case
        when guarded.tenant_column is null then 'null'
        else format('($1).%I', guarded.tenant_column)
    end
) into written using new;
select * into decided
from {{ ref('validation_decision') }}(guarded.scope, 'write', written.tenant);
{%- endmacro -%}
