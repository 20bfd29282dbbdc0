-- Values that the guard let pass, or rewrote, although they are not canonical.
{{ trueup.ledger_shape() }}
