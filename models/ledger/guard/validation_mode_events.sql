-- Every change of a mode, and every change that was refused. Rows are only added.
{{ trueup.ledger_shape() }}
