-- One row per check of a verification: its status, what it says, and what it found.
{{ trueup.ledger_shape() }}
