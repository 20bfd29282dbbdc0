deals."Fund" as key_1, deals.id as key_2
