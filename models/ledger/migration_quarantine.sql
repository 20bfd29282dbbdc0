-- Rows that could not be changed, each with the reason the database gave.
{{ trueup.ledger_shape() }}
