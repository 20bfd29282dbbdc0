cast(deals.id as text)
