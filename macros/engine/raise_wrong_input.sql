{#-
    Raises an error of one sentence that names the wrong value and the allowed ones. All errors of
    trueup's macros have this form.
    raise_wrong_input('managed_columns', 'vocabulary', 'stagee', ['stage'])
    → managed_columns: vocabulary 'stagee' is not allowed; allowed: stage
-#}
{%- macro raise_wrong_input(where, what, found, allowed) -%}
    {{- exceptions.raise_compiler_error(
        where ~ ": " ~ what ~ " '" ~ found ~ "' is not allowed; allowed: " ~ (allowed | join(', '))
    ) -}}
{%- endmacro -%}
