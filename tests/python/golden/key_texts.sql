array[cast(deals.id as text)]
