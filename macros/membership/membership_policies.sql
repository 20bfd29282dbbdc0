{#-
    The policies of a bundle, as the CTE `policies(name, value, source, is_required, is_unfilled)`;
    no comma at the end. A template is a value that nobody has filled in.
    membership_policies('$1') → policies as (...)
-#}
{%- macro membership_policies(given) -%}
policies as (
    select
        listed.policy ->> 'key' as name,
        listed.policy -> 'value' as value,
        listed.policy ->> 'source' as source,
        coalesce(listed.policy -> 'required' = 'true', false) as is_required,
        (
            coalesce(listed.policy ->> 'validationError', '') not in ('', 'false')
            or coalesce(btrim(listed.policy ->> 'value'), '') = ''
            or listed.policy ->> 'value' ~ '^ *([{][{][^{}]*[}][}]|<[^<>]*>|TODO|TBD|CHANGE_?ME) *$'
        ) as is_unfilled
    from
        jsonb_array_elements(
            coalesce(cast({{ given }} as jsonb) -> 'policies', '[]')
        ) as listed (policy)
)
{%- endmacro -%}
