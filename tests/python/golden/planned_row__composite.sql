(application."Fund", application.id)
= (listed.key_1, listed.key_2)

and (
    not cast($6 as boolean)
    or cast($7 as text[]) is null
    or (application."Fund", application.id) > (cast((cast($7 as text[]))[1] as text), cast((cast($7 as text[]))[2] as uuid))
)
and (
    not cast($6 as boolean)
    or (application."Fund", application.id) <= (cast((cast($8 as text[]))[1] as text), cast((cast($8 as text[]))[2] as uuid))
)
and cast(application.stage as text) collate "C" = value_map.value_before
