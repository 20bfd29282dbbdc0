cast((cast(deals.row_key as text[]))[1] as text) as key_1, cast((cast(deals.row_key as text[]))[2] as uuid) as key_2
