cardinality(array_agg(cast(deals."Fund" as text))) as key_total,
array_agg(cast(deals."Fund" as text)) as key_1,
array_agg(cast(deals.id as uuid)) as key_2
