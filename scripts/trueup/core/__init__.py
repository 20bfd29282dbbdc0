"""What every system stands on: settings, connections, dbt, named statements, the ledger's runs."""
