-- One row per verification: what was judged, how, and the verdict.
{{ trueup.ledger_shape() }}
