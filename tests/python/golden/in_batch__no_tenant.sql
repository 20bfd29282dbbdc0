(
    cast($1 as text[]) is null
    or (application."Fund", application.id) > (cast((cast($1 as text[]))[1] as text), cast((cast($1 as text[]))[2] as uuid))
)
and (application."Fund", application.id) <= (cast((cast($2 as text[]))[1] as text), cast((cast($2 as text[]))[2] as uuid))
and hashtextextended(cast(array[cast(application."Fund" as text) collate "C", cast(application.id as text)] as text), 0) & (cast($4 as bigint) - 1) = cast($3 as bigint)
and (
    cast($5 as text[]) is null
    or array_position(
        cast($5 as text[]),
        cast(null as text) collate "C"
    ) is not null
)
