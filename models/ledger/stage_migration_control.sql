-- How a run is steered, per table and column: what is wanted of it, its pace, who holds it.
{{ trueup.ledger_shape() }}
