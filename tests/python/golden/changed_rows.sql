select computed.*
from computed
left join this as built
    on computed.deal_id = built.deal_id
where
    built.deal_id is null
    or computed.stage is distinct from built.stage
    or computed.weight is distinct from built.weight
    or computed.first_seen_at is distinct from built.first_seen_at
