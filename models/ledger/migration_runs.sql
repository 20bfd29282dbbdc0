-- One row per run: the plan, the exact statements that it executes, and how it ended.
{{ trueup.ledger_shape() }}
