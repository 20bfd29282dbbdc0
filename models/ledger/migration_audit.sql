-- The audit of runs that write whole rows: what each was, and a hash of what the run left.
{{ trueup.ledger_shape() }}
