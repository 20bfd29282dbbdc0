-- One row per check of a verification: its status, its summary, and its findings.
{{ trueup.ledger_shape() }}
