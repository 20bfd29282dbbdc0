(
    cast($1 as text[]) is null
    or array_position(
        cast($1 as text[]),
        cast(null as text) collate "C"
    ) is not null
)
