unnest(
    (cast($3 as text[]))[
        cast($1 as integer):cast($2 as integer)
    ],
    (cast($4 as uuid[]))[
        cast($1 as integer):cast($2 as integer)
    ],
    (cast($5 as smallint[]))[
        cast($1 as integer):cast($2 as integer)
    ]
) as listed (key_1, key_2, map_id)
