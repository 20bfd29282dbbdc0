-- Rows that a rollback left as they are, each with its three values and the reason.
{{ trueup.ledger_shape() }}
