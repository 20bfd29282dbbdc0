{#- The CTE `judged` of both checks of duplicates. -#}
{%- macro membership_judged_duplicates() -%}
judged as (
    select
        case when listed.row_total = 0 then 'ok' else 'fail' end as status,
        '' as outcome,
        array[cast(listed.row_total as text)] as arguments,
        '0' as expected,
        cast(listed.row_total as text) as found,
        listed.row_total as rows,
        listed.sample
    from listed
)
{%- endmacro -%}
