(
    cast($1 as text[]) is null
    or (application.id) > (cast((cast($1 as text[]))[1] as bigint))
)
and (application.id) <= (cast((cast($2 as text[]))[1] as bigint))
and (
    (
        cast($9 as boolean)
        and application.id = any(chunks.numbers)
    )
    or (
        not cast($9 as boolean)
        and case
            when cast($6 as boolean)
                then hashtextextended(cast(application.id as text), 0)
            else application.id
        end & (cast($4 as bigint) - 1) = cast($3 as bigint)
    )
)
and (
    cast($5 as text[]) is null
    or array_position(
        cast($5 as text[]),
        cast(application.fund_id as text) collate "C"
    ) is not null
)
and (
    not cast($7 as boolean)
    or application.fund_id = $8
    or ($8 is null and application.fund_id is null)
)
