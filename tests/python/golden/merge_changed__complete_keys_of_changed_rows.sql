merge into mart as target
using computed as computed
    on (
        target.deal_id = computed.deal_id
    )
-- nothing but a key: the row has left the source
when matched
    and (
        computed.stage,
        computed.weight,
        computed.first_seen_at
    ) is null
then delete
when matched
    and (
        target.stage is distinct from computed.stage
        or target.weight is distinct from computed.weight
    )
then update set
    stage = computed.stage,
    weight = computed.weight
when not matched then insert (
    deal_id,
    stage,
    weight,
    first_seen_at
) values (
    computed.deal_id,
    computed.stage,
    computed.weight,
    computed.first_seen_at
)
