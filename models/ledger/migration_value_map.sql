-- What becomes of every value in a run, and of how many rows. What has no map_id is left alone.
{{ trueup.ledger_shape() }}
