merge into mart as target
using computed as computed
    on (
        target.deal_id = computed.deal_id
    )
when matched
    and (
        target.stage is distinct from computed.stage
        or target.weight is distinct from computed.weight
        or target.first_seen_at is distinct from computed.first_seen_at
    )
then update set
    stage = computed.stage,
    weight = computed.weight,
    first_seen_at = computed.first_seen_at
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
);

delete from mart as target
where not exists (
    select 1 from stg_app__deals as source_rows
    where source_rows.id = target.deal_id
)
