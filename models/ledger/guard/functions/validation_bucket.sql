-- The place of a subject, from 0 to 9999: the first four bytes of SHA-256 of `flag:subject`, as a
-- whole number, modulo 10000. A subject is inside p percent if its place is below p * 100, so that
-- it stays inside of every higher share. Python computes the same (trueup/guard/bucket.py).
create or replace function {{ this.include(database=false) }}(flag text, subject text)
returns integer
language sql
immutable
parallel safe
as $function$
    select cast(
        cast(
            cast(
                'x' || encode(substr(sha256(convert_to($1 || ':' || $2, 'UTF8')), 1, 4), 'hex')
                as bit(32)
            ) as bigint
        ) % 10000 as integer
    )
$function$;
