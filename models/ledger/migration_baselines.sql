-- Counts per tenant before a run: rows, NULLs, blanks and rows per value.
{{ trueup.ledger_shape() }}
