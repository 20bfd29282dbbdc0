cast(deals.fund as text)
|| ',' || cast(deals.id as text)
