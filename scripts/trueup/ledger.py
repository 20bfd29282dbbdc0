"""The tool's own tables: making them, and finding out that they are missing.

The models of models/ledger say what the tables are; here are only their names.
"""

from __future__ import annotations

from typing import Any

import psycopg

from trueup import connection, dbt
from trueup.errors import TrueupError
from trueup.settings import Settings

DEFAULT_SCHEMA = "trueup_ledger"  # as in the macro generate_schema_name
RELATIONS = (
    "migration_baselines",
    "migration_quarantine",
    "migration_runs",
    "migration_value_map",
    "stage_migration_batches",
    "stage_migration_control",
    "stage_migration_failures",
    "stage_migration_progress",
    "stage_migration_progress_by_fund",
    "stage_normalization_changes",
    "stage_normalization_log",
)
REMEDY = "`trueup ledger init` makes it"


def init(settings: Settings) -> None:
    """Make the ledger, or add to it what it lacks; what is recorded in it stays.

    Raises TrueupError when dbt could not make a table, with dbt's reason for the first one.
    """
    environment = connection.dbt_environment(settings)
    outcome = dbt.run(settings, environment, "run", "--select", "tag:ledger")
    if outcome.failures:
        first = outcome.failures[0]
        raise TrueupError(
            f"the ledger could not be made: {first.name}: {first.message}",
            f"The whole story is in {settings.state / 'logs' / 'dbt.log'}",
        )


def schema(settings: Settings) -> str:
    """The ledger's schema, as dbt_project.yml names it."""
    return str(dbt.project_variables(settings).get("ledger_schema", DEFAULT_SCHEMA))


def check(connected: psycopg.Connection[Any], schema: str) -> None:
    """TrueupError when the ledger, or a table or view of it, is not there."""
    found = connected.execute(
        """
        select c.relname from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        where n.nspname = %s and c.relname = any(%s)
        """,
        (schema, list(RELATIONS)),
    ).fetchall()
    missing = sorted(set(RELATIONS) - {name for (name,) in found})
    if missing:
        database = connected.info.dbname
        what = f"its schema {schema} lacks {', '.join(missing)}" if found else f"no schema {schema}"
        raise TrueupError(f"there is no ledger in database {database}: {what}", REMEDY)
