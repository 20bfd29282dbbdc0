cast(deals.stage as text) collate "C"
