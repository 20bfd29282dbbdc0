hashtextextended(cast(array[cast(deals."Fund" as text) collate "C", cast(deals.id as text)] as text), 0) & (cast($1 as bigint) - 1)
