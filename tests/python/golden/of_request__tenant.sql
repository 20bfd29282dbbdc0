(
    (select request.table_names from request) is null
    or array_position(
        (select request.table_names from request),
        names.table_name
    ) is not null
)
and (
    (select request.tenants from request) is null
    or array_position(
        (select request.tenants from request),
        cast(names.tenant as text) collate "C"
    ) is not null
)
