-- What was judged, per minute: of columns by `trueup guard tick`, of endpoints by each instance.
{{ trueup.ledger_shape() }}
