deals."Fund" desc, deals.id desc
