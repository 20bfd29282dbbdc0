-- The new value of every value in a run, with its rows. Values without a map_id are left alone.
{{ trueup.ledger_shape() }}
