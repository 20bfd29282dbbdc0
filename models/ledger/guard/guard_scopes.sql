-- The columns that have a guard, each with what its triggers need to know.
{{ trueup.ledger_shape() }}
