{#-
    The tiers of the application, as the CTE `known_tiers(code, id)`; no comma at the end.
    membership_known_tiers()      → those of its table
    membership_known_tiers(true)  → also those that this import is going to insert
-#}
{%- macro membership_known_tiers(planned=false) -%}
known_tiers as (
    select
        cast({{ trueup.membership_column('tier', 'code', 'tiers') }} as text) as code,
        cast({{ trueup.membership_column('tier', 'id', 'tiers') }} as text) as id
    from {{ trueup.membership_table('tier') }} as tiers
    {%- if planned %}
    union all
    select
        decisions.source_id as code,
        decisions.row_key as id
    from membership_decisions as decisions
    where decisions.entity = 'tier'
    {%- endif %}
)
{%- endmacro -%}
