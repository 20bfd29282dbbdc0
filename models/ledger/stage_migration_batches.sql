-- One row per batch: one transaction, one stripe of a range of keys, with what it has done.
{{ trueup.ledger_shape() }}
