-- Rows that a rollback left unchanged, each with its three values and the reason.
{{ trueup.ledger_shape() }}
