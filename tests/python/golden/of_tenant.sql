coalesce(
    not cast($1 as boolean)
    or deals.fund_id = $2
    or ($2 is null and deals.fund_id is null),
    false
)
