-- One row per `trueup verify`: which run was looked at, how, and the verdict.
{{ trueup.ledger_shape() }}
