{#-
    The named statement of a check: every row that the bundle claims is there. Rows of another
    origin do not matter.
    membership_count_check('member') → -- name: membership__member_count(report, most) ...
-#}
{%- macro membership_count_check(entity) -%}
-- name: membership__{{ entity }}_count(report, most)
-- Every {{ entity }} that the bundle claims is there; rows of another origin do not matter.
with {{ trueup.membership_records(entity, '$1') }},

{{ trueup.membership_claimed(entity) }},

totals as (
    select
        count(*) as claimed_total,
        count(*) filter (where claimed.is_present) as present_total
    from claimed
),

offenders as (
    select
        'fail' as status,
        '{{ entity }}' as entity,
        claimed.source_id,
        claimed.target_id,
        '{{ entity }} ' || claimed.source_id || ' is missing: ' || claimed.target_id as message
    from claimed
    where not claimed.is_present
),

{{ trueup.membership_listed('$2') }},

judged as (
    select
        case
            when totals.claimed_total = totals.present_total then 'ok'
            else 'fail'
        end as status,
        '' as outcome,
        array[
            cast(totals.claimed_total as text),
            cast(totals.present_total as text),
            cast(totals.claimed_total - totals.present_total as text)
        ] as arguments,
        cast(totals.claimed_total as text) as expected,
        cast(totals.present_total as text) as found,
        listed.row_total as rows,
        listed.sample
    from totals
    cross join listed
),

{{ trueup.membership_answer(entity ~ '_count') }}
{%- endmacro -%}
