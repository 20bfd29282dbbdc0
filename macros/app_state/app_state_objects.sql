{#-
    What `trueup app-state init` creates, parents first: [{kind, name, table, command}]. kind:
    function, relation (a table, an index or a view), trigger, security (of a table) or policy.

    app_state_objects()[1] → {kind: relation, name: orgs, table: orgs, command: create table ...}
-#}
{%- macro app_state_objects() -%}
{%- set objects = [] -%}
{%- set function = trueup.target_table({'table': 'app_state_touch'}) -%}
{%- set own = '(user_id = ' ~ trueup.app_state_settings().user_expression ~ ')' -%}
{%- set entities = trueup.app_state_entities() -%}
{%- do objects.append({
    'kind': 'function', 'name': 'app_state_touch', 'table': '',
    'command': trueup._touch_function(function),
}) -%}
{%- for target in trueup.app_state_targets() -%}
    {%- set name = target.table -%}
    {%- set table = trueup.target_table(target) -%}
    {%- set known = entities.get(name, {}) -%}
    {%- do objects.append({
        'kind': 'relation', 'name': name, 'table': name,
        'command': trueup._create_table(target, known),
    }) -%}
    {%- for column in (['user_id'] if known else []) + known.get('parents', {}).keys() | list -%}
        {%- do objects.append({
            'kind': 'relation', 'name': name ~ '_' ~ column, 'table': name,
            'command': 'create index ' ~ name ~ '_' ~ column ~ ' on ' ~ table ~ ' (' ~ column ~ ')',
        }) -%}
    {%- endfor -%}
    {%- if 'updated_at' in known.get('columns', {}) -%}
        {%- do objects.append({
            'kind': 'trigger', 'name': 'touch', 'table': name,
            'command': 'create trigger touch before update on ' ~ table
                ~ '\nfor each row execute function ' ~ function ~ '()',
        }) -%}
    {%- endif -%}
    {%- do objects.append({
        'kind': 'security', 'name': 'row-level security', 'table': name,
        'command': 'alter table ' ~ table ~ ' enable row level security',
    }) -%}
    {%- for verb, condition in {
        'select': 'using ' ~ own,
        'insert': 'with check ' ~ own,
        'update': 'using ' ~ own ~ '\nwith check ' ~ own,
        'delete': 'using ' ~ own,
    }.items() -%}
        {%- do objects.append({
            'kind': 'policy', 'name': 'own_' ~ verb, 'table': name,
            'command': 'create policy own_' ~ verb ~ ' on ' ~ table ~ ' for ' ~ verb ~ '\n'
                ~ condition,
        }) -%}
    {%- endfor -%}
{%- endfor -%}
{%- do objects.append({
    'kind': 'relation', 'name': 'app_state_documents', 'table': 'app_state_documents',
    'command': 'create view ' ~ trueup.target_table({'table': 'app_state_documents'})
        ~ ' with (security_invoker = true) as\n' ~ trueup.app_state_reassembled(),
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
