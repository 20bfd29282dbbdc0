(
    cast($1 as text[]) is null
    or (deals."Fund", deals.id) > (cast((cast($1 as text[]))[1] as text), cast((cast($1 as text[]))[2] as uuid))
)
and (deals."Fund", deals.id) <= (cast((cast($2 as text[]))[1] as text), cast((cast($2 as text[]))[2] as uuid))
