deals."Fund", deals.id
