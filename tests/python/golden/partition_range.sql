(
    not cast($6 as boolean)
    or cast($7 as text[]) is null
    or (application.id) > (cast((cast($7 as text[]))[1] as bigint))
)
and (
    not cast($6 as boolean)
    or (application.id) <= (cast((cast($8 as text[]))[1] as bigint))
)
