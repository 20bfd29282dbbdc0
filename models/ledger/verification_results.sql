-- One row per finding of a verification: its status, what it says, and what was found.
{{ trueup.ledger_shape() }}
