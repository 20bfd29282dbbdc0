cast(deals.fund_id as text)
