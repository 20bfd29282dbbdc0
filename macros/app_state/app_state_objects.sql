{#-
    What `trueup app-state init` creates, parents first: [{name, check, command}]. An object is
    created if its check finds no row, so that a second init changes nothing.

    app_state_objects()[0].command → create table public.orgs (id uuid primary key, ...)
-#}
{%- macro app_state_objects() -%}
{%- set objects = [] -%}
{%- set schema = trueup.app_schema() -%}
{%- set function = trueup.target_table({'table': 'app_state_touch'}) -%}
{%- set user = trueup.app_state_settings().user_expression -%}
{%- set entities = trueup.app_state_entities() -%}
{%- do objects.append({
    'name': 'function app_state_touch',
    'check': "select 1 as found from pg_catalog.pg_proc where pg_proc.oid = to_regproc("
        ~ trueup.literal(function) ~ ")",
    'command': trueup._touch_function(function),
}) -%}
{%- for target in trueup.app_state_targets() -%}
    {%- set table = trueup.target_table(target) -%}
    {%- set regclass = 'to_regclass(' ~ trueup.literal(table) ~ ')' -%}
    {%- set known = entities.get(target.table, {}) -%}
    {%- do objects.append({
        'name': 'table ' ~ target.table,
        'check': 'select 1 as found from pg_catalog.pg_class where pg_class.oid = ' ~ regclass,
        'command': trueup._create_table(target, known),
    }) -%}
    {%- for columns in (['user_id'] if known else []) + known.get('parents', {}).keys() | list -%}
        {%- set index = target.table ~ '_' ~ columns -%}
        {%- do objects.append({
            'name': 'index ' ~ index,
            'check': 'select 1 as found from pg_catalog.pg_class where pg_class.oid = to_regclass('
                ~ trueup.literal(trueup.target_table({'table': index})) ~ ')',
            'command': 'create index ' ~ index ~ ' on ' ~ table ~ ' (' ~ columns ~ ')',
        }) -%}
    {%- endfor -%}
    {%- if 'updated_at' in known.get('columns', {}) -%}
        {%- do objects.append({
            'name': 'trigger on ' ~ target.table,
            'check': 'select 1 as found from pg_catalog.pg_trigger where pg_trigger.tgrelid = '
                ~ regclass ~ " and pg_trigger.tgname = 'touch'",
            'command': 'create trigger touch before update on ' ~ table
                ~ ' for each row execute function ' ~ function ~ '()',
        }) -%}
    {%- endif -%}
    {%- do objects.append({
        'name': 'row-level security of ' ~ target.table,
        'check': 'select 1 as found from pg_catalog.pg_class where pg_class.oid = ' ~ regclass
            ~ ' and pg_class.relrowsecurity',
        'command': 'alter table ' ~ table ~ ' enable row level security',
    }) -%}
    {%- set own = 'user_id = ' ~ user -%}
    {%- for verb, condition in {
        'select': 'using (' ~ own ~ ')',
        'insert': 'with check (' ~ own ~ ')',
        'update': 'using (' ~ own ~ ') with check (' ~ own ~ ')',
        'delete': 'using (' ~ own ~ ')',
    }.items() -%}
        {%- do objects.append({
            'name': 'policy own_' ~ verb ~ ' on ' ~ target.table,
            'check': 'select 1 as found from pg_catalog.pg_policy where pg_policy.polrelid = '
                ~ regclass ~ " and pg_policy.polname = 'own_" ~ verb ~ "'",
            'command': 'create policy own_' ~ verb ~ ' on ' ~ table ~ ' for ' ~ verb ~ ' '
                ~ condition,
        }) -%}
    {%- endfor -%}
{%- endfor -%}
{%- set view = trueup.target_table({'table': 'app_state_documents'}) -%}
{%- do objects.append({
    'name': 'view app_state_documents',
    'check': 'select 1 as found from pg_catalog.pg_class where pg_class.oid = to_regclass('
        ~ trueup.literal(view) ~ ')',
    'command': 'create view ' ~ view ~ ' with (security_invoker = true) as\n'
        ~ trueup.app_state_reassembled(),
}) -%}
{{- return(objects) -}}
{%- endmacro -%}

{%- macro _create_table(target, known) -%}
create table {{ trueup.target_table(target) }} (
    {%- for column, type in target.types.items() %}
    {{ trueup.quoted(column) }} {{ type }}
    {%- if column in target.key %} primary key{% elif column == 'user_id' %} not null{% endif %}
    {%- if type == 'jsonb' %} not null default '{}'{% endif %}
    {%- if known and column in ['created_at', 'updated_at'] %} default now(){% endif %}
    {%- if column in known.get('parents', {}) %} references
    {{- ' ' ~ trueup.target_table({'table': known.parents[column]}) }} on delete restrict
    {%- endif %}
    {{- ',' if not loop.last }}
    {%- endfor %}
)
{%- endmacro -%}

{%- macro _touch_function(function) -%}
create function {{ function }}() returns trigger language plpgsql as $function$
begin
    -- a run of trueup writes the times of its source
    if coalesce(current_setting('trueup.keeps_times', true), '') <> 'on' then
        new.updated_at := now();
    end if;
    return new;
end
$function$
{%- endmacro -%}
