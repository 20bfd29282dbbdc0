(application."Fund", application.id)
= (older_rows.key_1, older_rows.key_2)
and application.xmin = older_rows.row_version
and cast(application.stage as text) collate "C" = older_rows.value_before
