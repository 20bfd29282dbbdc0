{#-
    The scratch table of a managed column's rehearsal, in the ledger's schema: there while
    `trueup plan --rehearse` runs. The name is short whatever the column is called, and the same
    every time, so that what a kill left behind is found. trueup.rehearsal makes the same name.
    rehearsal_table({'table': 'investments', 'column': 'round'}) →
        trueup_ledger.rehearsal_92a844cc3f8a
-#}
{%- macro rehearsal_table(entry) -%}
    {{- trueup.quoted(var('ledger_schema', 'trueup_ledger')) -}}
    .rehearsal_{{ local_md5(trueup.statement_name('rehearsal', entry) | string)[:12] -}}
{%- endmacro -%}
