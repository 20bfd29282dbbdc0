exists (
    select 1 as found
    from ledger.control as control
    where
        control.run_id = $1
        and control.lease_token = $2
)
