(
    (select request.tenants from request) is null
    or array_position(
        (select request.tenants from request),
        cast(deals.fund_id as text) collate "C"
    ) is not null
)
