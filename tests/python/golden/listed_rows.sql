generate_series(
    cast($1 as integer), cast($2 as integer), 32
) as chunks (first_place)
