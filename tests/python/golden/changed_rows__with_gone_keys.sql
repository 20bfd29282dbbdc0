select
    computed.stage,
    computed.weight,
    computed.first_seen_at,
    coalesce(computed.deal_id, built.deal_id) as deal_id
from computed
full join this as built
    on computed.deal_id = built.deal_id
where
    case
        when built.deal_id is null then 'new'
        -- all other columns of the row are NULL: the key was deleted from the source
        when computed.deal_id is null then 'gone'
        when
            computed.stage
            is distinct from built.stage
            then 'changed'
        when
            computed.weight
            is distinct from built.weight
            then 'changed'
        when
            computed.first_seen_at
            is distinct from built.first_seen_at
            then 'changed'
        else 'same'
    end in ('new', 'gone', 'changed')
