{#-
    Does a command take a run of this kind if no RUN is named? A condition on a row of
    migration_runs.
    picked_by('runs', 'status') → runs.record #> '{rules,picked_by}' ? 'status'
-#}
{%- macro picked_by(runs, command) -%}
{{ runs }}.record #> '{rules,picked_by}' ? '{{ command }}'
{%- endmacro -%}
