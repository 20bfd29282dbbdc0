merge into mart as target
using computed as computed
    on (
        target.deal_id = computed.deal_id
    )
when not matched then insert (
    deal_id
) values (
    computed.deal_id
)
