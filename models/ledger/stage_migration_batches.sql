-- One row per batch: one transaction for one stripe of a range of keys, with its results.
{{ trueup.ledger_shape() }}
