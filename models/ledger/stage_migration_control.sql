-- Control of a run, per table and column: the requested status, its pace, and who holds it.
{{ trueup.ledger_shape() }}
