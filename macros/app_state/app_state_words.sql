{#-
    The words for findings about documents and their tables, as [code, name, message, remedy]: see
    finding_rows(). app_state__findings and app_state__notes say what the arguments are.
-#}
{%- macro app_state_words() -%}
{{ return([
    ['app_state__no_source', 'documents', 'there is no table of documents with this column',
     'A project without documents sets app_state.enabled to false in dbt_project.yml.'],
    ['app_state__no_table', 'tables', 'the table or its column is missing',
     'Create what is missing:\ntrueup app-state init'],
    ['app_state__no_right', 'rights', 'the role may not %1$s',
     'Let the owner grant it:\ngrant %1$s on %2$s to %3$I;'],
    ['app_state__hidden_rows', 'row-level security',
     'its policies would hide or refuse rows of other users',
     'Let the owner add a policy for the role, or let a superuser exempt it:\n'
     ~ 'create policy trueup_%3$s on %2$s to %3$I using (true) with check (true);\n'
     ~ 'alter role %3$I bypassrls;'],
    ['app_state__no_index', 'documents', 'no index begins with user_id: each batch reads the table',
     'Create one:\ncreate index concurrently on %1$s (user_id);'],
    ['app_state__several_rows', 'documents',
     'users with older rows, which are not moved: %1$s; rows without a user: %2$s',
     'Look at them, and keep the newest of each user:\ntrueup app-state dedupe'],
    ['app_state__no_ids', 'items',
     '%1$s items have no id and get one made of their content, such as %2$s', none],
    ['app_state__dangling', 'items',
     '%1$s references to a parent that the document does not have become NULL, such as %2$s',
     none],
    ['app_state__other_types', 'items',
     '%1$s values are not of the type of their column; it is NULL, and `extra` has them as they'
     ~ ' are, such as %2$s', none],
]) }}
{%- endmacro -%}
