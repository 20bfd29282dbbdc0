-- What the guard knows of the vocabularies: a copy, because the guard must not wait for dbt.
{{ trueup.ledger_shape() }}
