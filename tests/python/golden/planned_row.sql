application.id = any(
    (cast($3 as bigint[]))[
        chunks.first_place:least(chunks.first_place + 31, cast($2 as integer))
    ]
)

and (
    not cast($6 as boolean)
    or cast($7 as text[]) is null
    or (application.id) > (cast((cast($7 as text[]))[1] as bigint))
)
and (
    not cast($6 as boolean)
    or (application.id) <= (cast((cast($8 as text[]))[1] as bigint))
)
and (
    cast($9 as text[]) is null
    or array_position(
        cast($9 as text[]),
        cast(application.fund_id as text) collate "C"
    ) is not null
)
and coalesce(
    not cast($10 as boolean)
    or application.fund_id = $11
    or ($11 is null and application.fund_id is null),
    false
)
and cast(application.stage as text) collate "C" = value_map.value_before
