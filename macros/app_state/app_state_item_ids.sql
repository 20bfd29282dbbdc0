{#-
    The ids of the items that can be moved, as a CTE; no comma at the end. By it a child finds its
    parent.
    app_state_item_ids() expects the CTE items. Defines item_ids(user_id, target_ids):
    {'orgs org-1': target_id}
-#}
{%- macro app_state_item_ids() -%}
item_ids as (
    select
        items.user_id,
        jsonb_object_agg(items.entity || ' ' || items.source_id, items.target_id) as target_ids
    from items
    where items.reason is null
    group by items.user_id
)
{%- endmacro -%}
