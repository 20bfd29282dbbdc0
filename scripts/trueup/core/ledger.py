"""The ledger, trueup's own tables: create them, check that they exist.

The models of models/ledger define the tables.
"""

from __future__ import annotations

from typing import Any

import psycopg
import yaml

from trueup.core import config, connection, dbt
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

DEFAULT_SCHEMA = "trueup_ledger"  # as in the macro generate_schema_name
REMEDY = "`trueup ledger init` makes it"


def init(settings: Settings) -> None:
    """Create the ledger, or add missing tables and columns; its rows stay.

    Raises TrueupError if dbt could not create a table, with dbt's first reason.
    """
    environment = connection.dbt_environment(settings)
    outcome = dbt.run(settings, environment, "run", "--select", "tag:ledger")
    if outcome.failures:
        first = outcome.failures[0]
        raise TrueupError(
            f"the ledger could not be made: {first.name}: {first.message}",
            f"The full log is in {settings.state / 'logs' / 'dbt.log'}",
        )


def schema(settings: Settings) -> str:
    """The ledger's schema, as dbt_project.yml names it."""
    return str(config.project_variables(settings).get("ledger_schema", DEFAULT_SCHEMA))


def relations(settings: Settings) -> dict[str, list[str]]:
    """The columns of each table and view, as its model's YAML below models/ledger lists them."""
    return {
        model["name"]: [column["name"] for column in model["columns"]]
        for path in sorted((settings.project / "models" / "ledger").rglob("*.yml"))
        for model in yaml.load(path.read_text("utf-8"), config.LOADER)["models"]
        if "columns" in model  # a function has none
    }


def check(connected: psycopg.Connection[Any], schema: str, settings: Settings) -> None:
    """TrueupError if the ledger, or a table, view or column of it, does not exist."""
    wanted = relations(settings)
    found = {
        name: set(columns)
        for name, columns in connected.execute(
            """
            select
                c.relname,
                array(
                    select cast(a.attname as text) from pg_catalog.pg_attribute as a
                    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                )
            from pg_catalog.pg_class as c
            inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
            where n.nspname = %s and c.relname = any(%s)
            """,
            (schema, list(wanted)),
        )
    }
    database = connected.info.dbname
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        what = f"its schema {schema} lacks {', '.join(missing)}" if found else f"no schema {schema}"
        raise TrueupError(f"there is no ledger in database {database}: {what}", REMEDY)
    lacking = [
        f"{name}.{column}"
        for name, columns in wanted.items()
        for column in columns
        if column not in found[name]
    ]
    if lacking:
        raise TrueupError(
            f"the ledger in database {database} is not complete: "
            f"its schema {schema} lacks {', '.join(lacking)}",
            "`trueup ledger init` adds it",
        )
