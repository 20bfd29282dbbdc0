"""`trueup ledger drop`: the way out. Removes the tool's own tables and views, and nothing else."""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from trueup.core import ledger, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError

VIEWS = ("stage_migration_failures", "stage_migration_progress",
         "stage_migration_progress_by_fund", "stage_normalization_log")  # fmt: skip
TABLES = tuple(name for name in ledger.RELATIONS if name not in VIEWS)
LOCK_TIMEOUT = "5s"  # long enough for a batch to end


@dataclass(frozen=True)
class Relation:
    """A table or view of the ledger; bytes: with its indexes."""

    name: str
    kind: str
    bytes: int
    owner: str
    is_owner: bool


@dataclass(frozen=True)
class Loss:
    """What would be lost; first and last: when rows were changed, None where none were."""

    relations: list[Relation]
    runs: int
    entries: int
    rows_changed: int
    first: datetime | None
    last: datetime | None

    @property
    def bytes(self) -> int:
        """Of all tables."""
        return sum(relation.bytes for relation in self.relations)


def look(connected: Connection, schema: str) -> Loss:
    """What there is of a ledger, a damaged or older one too; TrueupError where there is nothing."""
    relations = _relations(connected, schema)
    if not relations:
        raise TrueupError(
            f"there is no ledger in database {connected.info.dbname}: "
            f"schema {schema} has none of its tables",
            "Nothing is to be dropped.",
        )
    names = {relation.name for relation in relations}
    runs = _row(connected, schema, "migration_runs", "count(*)", names) or (0,)
    audit = _row(
        connected, schema, "stage_normalization_changes",
        "count(*), coalesce(sum(cardinality(row_keys)), 0), min(run_at), max(run_at)", names,
    ) or (0, 0, None, None)  # fmt: skip
    return Loss(relations, runs[0], audit[0], int(audit[1]), audit[2], audit[3])


def check(connected: Connection, schema: str) -> None:
    """TrueupError where somebody works on a run, builds on the ledger, or owns it in our place."""
    relations = _relations(connected, schema)
    if others := [relation for relation in relations if not relation.is_owner]:
        raise TrueupError(
            f"role {connected.info.user} does not own "
            f"{', '.join(relation.name for relation in others)} in schema {schema}",
            f"Dropping is for the ledger's owner: run it as {others[0].owner}.",
        )
    held = _held(connected, schema, {relation.name for relation in relations})
    if held:
        raise TrueupError(
            f"run {held[0]} is being worked on by {held[1]}",
            "`trueup pause` stops it; a lease of a runner that was killed ends by itself.",
        )
    foreigners = _statement("foreigners").run(connected, **_names(schema)).fetchall()
    if foreigners:
        listed = "\n".join(f"  {description}" for (description,) in foreigners)
        raise TrueupError(
            f"these are not trueup's, and stand in schema {schema} or are built on it:\n{listed}",
            "Move or drop them first; trueup does not drop what it has not made.",
        )


def drop(connected: Connection, schema: str) -> bool:
    """Drop tables and views, then the schema; whether the schema is gone, too.

    One transaction, which the caller commits. Raises TrueupError as `check` does, and where the
    ledger is in use.
    """
    connected.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    relations = _relations(connected, schema)
    try:
        _lock(connected, schema, relations)
        check(connected, schema)
        for kind in ("view", "table"):
            names = [sql.Identifier(schema, each.name) for each in relations if each.kind == kind]
            if names:
                statement = sql.SQL("drop {} {} restrict").format(
                    sql.SQL(kind), sql.SQL(", ").join(names)
                )
                connected.execute(statement)
    except psycopg.errors.LockNotAvailable:
        raise TrueupError(
            f"somebody uses the ledger in schema {schema}; waited {LOCK_TIMEOUT} for it",
            "Nothing was dropped. Run it again when nobody reads or works on a run.",
        ) from None
    except psycopg.errors.DependentObjectsStillExist as error:
        raise TrueupError(
            f"something is built on the ledger: {error.diag.message_detail}",
            "Nothing was dropped. Move or drop it first.",
        ) from None
    return _drop_schema(connected, schema)


def backup_command(connected: Connection, schema: str) -> str:
    """The command that keeps a copy of the ledger; asks for the password where one is needed."""
    info = connected.info
    pattern = schema if re.fullmatch("[a-z_][a-z0-9_]*", schema) else f'"{schema}"'
    words = ["pg_dump", f"--schema={pattern}", f"--file={_plain(schema)}.sql",
             f"--host={info.host or info.hostaddr}", f"--port={info.port}",
             f"--username={info.user}", f"--dbname={info.dbname}"]  # fmt: skip
    return " ".join(shlex.quote(word) for word in words)


def _drop_schema(connected: Connection, schema: str) -> bool:
    """Where it is ours and empty: the savepoint keeps what was done where it is not."""
    try:
        with connected.transaction():
            connected.execute(sql.SQL("drop schema {} restrict").format(sql.Identifier(schema)))
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.DependentObjectsStillExist,
    ):
        return False
    return True


def _lock(connected: Connection, schema: str, relations: list[Relation]) -> None:
    """Nobody takes a lease or records anything between the last look and the end."""
    tables = [sql.Identifier(schema, each.name) for each in relations if each.kind == "table"]
    if tables and all(each.is_owner for each in relations):
        connected.execute(
            sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(tables))
        )


def _held(connected: Connection, schema: str, names: set[str]) -> tuple[str, str] | None:
    found = _row(
        connected, schema, "stage_migration_control",
        "left(cast(run_id as text), 8), lease_owner", names, "where lease_until >= now() limit 1",
    )  # fmt: skip
    return None if found is None else (found[0], found[1] or "somebody")


def _row(
    connected: Connection,
    schema: str,
    table: str,
    columns: str,
    names: set[str],
    ending: str = "",
) -> tuple[Any, ...] | None:
    """The first row of a query on a table of the ledger; None where there is no such table."""
    if table not in names:
        return None
    query = sql.SQL("select {} from {} {}").format(
        sql.SQL(columns),
        sql.Identifier(schema, table),
        sql.SQL(ending),
    )
    return connected.execute(query).fetchone()


def _relations(connected: Connection, schema: str) -> list[Relation]:
    statement = _statement("ours")
    with psycopg.RawCursor(connected, row_factory=class_row(Relation)) as cursor:
        values = _names(schema)
        cursor.execute(statement.sql, [values[name] for name in statement.parameters])
        return cursor.fetchall()


def _names(schema: str) -> dict[str, Any]:
    return {"schema_name": schema, "table_names": list(TABLES), "view_names": list(VIEWS)}


def _plain(schema: str) -> str:
    """A file's name."""
    return re.sub(r"\W+", "_", schema)


@functools.cache
def _statements() -> dict[str, statements.Statement]:
    return statements.read(Path(__file__).with_name("ledger_drop.sql"))


def _statement(name: str) -> statements.Statement:
    return _statements()[name]
