-- The audit of changed rows, in parallel arrays. stage_normalization_log shows it row by row.
{{ trueup.ledger_shape() }}
