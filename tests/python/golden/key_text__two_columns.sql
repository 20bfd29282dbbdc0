cast(array[cast(deals."Fund" as text) collate "C", cast(deals.id as text)] as text)
