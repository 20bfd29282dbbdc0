{#-
    The body of the CTE `chunks`, which in_batch() expects where the key is a whole number: of a
    range without large gaps the numbers that a stripe may have, 128 in a row of the CTE, each row
    with the first of them. Looking these up is cheaper than reading the rows of all stripes, and
    stays so where a batch is cut into pieces. Of a range with gaps one row, which says nothing.

    numbers_of_stripe({'id': 'bigint'}, numbers) →
        select series.first_number from generate_series(...) as series (first_number)

    Chunks, because the planner takes an array that is not there yet for ten values: one array of
    thousands would make it compare every row with every value of the map.
    numbers: as in_batch() takes them.
-#}
{%- macro numbers_of_stripe(key, numbers) -%}
{%- set stripes = 'cast(' ~ numbers.stripes ~ ' as bigint)' -%}
select series.first_number
from
    generate_series(
        case
            when cast({{ numbers.dense }} as boolean)
                then
                    ({{ trueup.key_values(key, numbers.range_start) }} & -{{ stripes }})
                    | cast({{ numbers.stripe }} as bigint)
            else 0
        end,
        case
            when cast({{ numbers.dense }} as boolean)
                then {{ trueup.key_values(key, numbers.range_end) }}
            else 0
        end,
        128 * {{ stripes }}
    ) as series (first_number)
{%- endmacro -%}
