case
    when cast($2 as boolean)
        then hashtextextended(cast(deals.id as text), 0)
    else deals.id
end & (cast($1 as bigint) - 1)
