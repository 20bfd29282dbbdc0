select
    array(
        select candidates.number
        from
            generate_series(
                chunk_starts.first_number,
                chunk_starts.first_number + 127 * cast($4 as bigint),
                cast($4 as bigint)
            ) as candidates (number)
    ) as numbers
from
    generate_series(
        case
            when cast($9 as boolean)
                then
                    (cast((cast($1 as text[]))[1] as integer) & -cast($4 as bigint))
                    | cast($3 as bigint)
            else 0
        end,
        case when cast($9 as boolean) then cast((cast($2 as text[]))[1] as integer) else 0 end,
        128 * cast($4 as bigint)
    ) as chunk_starts (first_number)
