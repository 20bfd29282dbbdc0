(
    (select request.tenants from request) is null
    or array_position(
        (select request.tenants from request),
        cast(null as text) collate "C"
    ) is not null
)
