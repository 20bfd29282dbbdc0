-- One row per run: the plan, the very statements that it executes, and what became of it.
{{ trueup.ledger_shape() }}
