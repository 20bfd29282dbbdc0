cast(deals.fund_id as text) collate "C"
