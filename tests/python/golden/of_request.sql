(
    (select request.table_names from request) is null
    or array_position(
        (select request.table_names from request),
        'deals'
    ) is not null
)
