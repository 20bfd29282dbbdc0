select computed.*
from computed
left join this as built
    on computed.deal_id = built.deal_id
where
    case
        when built.deal_id is null then 'new'
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
    end in ('new', 'changed')
