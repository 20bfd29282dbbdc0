cast(deals.row_key as bigint)
