"""The base of all systems: settings, connections, dbt, named statements, the ledger's runs."""
