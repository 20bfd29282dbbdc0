-- One row per `trueup verify`: the run that was verified, the options, and the verdict.
{{ trueup.ledger_shape() }}
