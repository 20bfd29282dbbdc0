array(
    select
        cast((cast(listed.row_key as text[]))[1] as text) as key_part
    from unnest(changes.row_keys) with ordinality as listed (row_key, place)
    order by listed.place
) as key_1,
array(
    select
        cast((cast(listed.row_key as text[]))[2] as uuid) as key_part
    from unnest(changes.row_keys) with ordinality as listed (row_key, place)
    order by listed.place
) as key_2
