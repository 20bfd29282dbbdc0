cast((cast(deals.row_key as text[]))[1] as text), cast((cast(deals.row_key as text[]))[2] as uuid)
