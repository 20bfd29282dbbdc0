{#-
    The body of the CTE `chunks`, which in_batch() expects if the key is a whole number: for a range
    without large gaps the possible numbers of a stripe, 128 in an array, including a few outside of
    the range. Looking these up is cheaper than reading the rows of all stripes, also if a batch is
    cut into pieces. For a range with gaps it has one row, which is not used.

    numbers_of_stripe({'id': 'bigint'}, numbers) →
        select array(select ... from generate_series(...) ...) as numbers
        from generate_series(...) as chunk_starts (first_number)

    Chunks, because the planner assumes ten values for an array that it does not know: with one
    array of thousands it would compare every row with every value of the map.
    numbers: as in_batch() takes them.
-#}
{%- macro numbers_of_stripe(key, numbers) -%}
{%- set dense = 'cast(' ~ numbers.dense ~ ' as boolean)' -%}
{%- set stripes = 'cast(' ~ numbers.stripes ~ ' as bigint)' -%}
{%- set range_start = trueup.key_values(key, numbers.range_start) -%}
{%- set range_end = trueup.key_values(key, numbers.range_end) -%}
select
    array(
        select candidates.number
        from
            generate_series(
                chunk_starts.first_number,
                chunk_starts.first_number + 127 * {{ stripes }},
                {{ stripes }}
            ) as candidates (number)
    ) as numbers
from
    generate_series(
        case
            when {{ dense }}
                then
                    ({{ range_start }} & -{{ stripes }})
                    | cast({{ numbers.stripe }} as bigint)
            else 0
        end,
        case when {{ dense }} then {{ range_end }} else 0 end,
        128 * {{ stripes }}
    ) as chunk_starts (first_number)
{%- endmacro -%}
