{#- A stub. -#}
{%- macro check_weights() -%}
results as (
    select
        cast(null as text) as check_id,
        cast(null as text) as status,
        cast(null as text) as expected,
        cast(null as text) as actual,
        cast(null as jsonb) as offenders,
        cast(null as bigint) as offender_count
    from request
    where false
)

select * from results
{%- endmacro -%}
