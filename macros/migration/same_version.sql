{#-
    Is a row of `application` still the version that `older_rows` has? Every edit creates a new
    version.
    same_version({'column': 'stage', 'key': {'id': 'bigint'}}) →
        (application.id) = (older_rows.key_1) and application.xmin = older_rows.row_version and ...
-#}
{%- macro same_version(entry) -%}
({{ trueup.key_columns(entry.key, 'application') }})
= ({{ trueup.key_columns(trueup.numbered_key(entry.key), 'older_rows') }})
and application.xmin = older_rows.row_version
and {{ trueup.binary_text('application.' ~ trueup.quoted(entry.column)) }} = older_rows.value_before
{%- endmacro -%}
