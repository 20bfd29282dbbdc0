cast((cast(cast(deals.row_key as text[]) as text[]))[1] as text), cast((cast(cast(deals.row_key as text[]) as text[]))[2] as uuid)
