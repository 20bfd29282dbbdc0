(
    cast($1 as text[]) is null
    or (deals.id) > (cast((cast($1 as text[]))[1] as bigint))
)
and (deals.id) <= (cast((cast($2 as text[]))[1] as bigint))
