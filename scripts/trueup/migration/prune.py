"""`trueup ledger prune`: what of old runs nobody needs any more, and removing it.

Runs that did nothing go altogether; of others goes what only planning and verification read. What
rows were changed, from what to what, stays, and so does what a rollback needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from psycopg import sql

from trueup.core import ledger, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LEAST = timedelta(days=1)
TABLES = ("migration_baselines", "migration_value_map", "stage_migration_batches",
          "stage_migration_control", "verification_results", "verification_runs",
          "migration_runs")  # fmt: skip
ALLOWED = "allowed: a number of hours, days or weeks (48h, 90d, 12w), or a day (2026-01-31)"


@dataclass(frozen=True)
class Run:
    """An old run; is_empty: it changed nothing, and goes altogether."""

    run_id: UUID
    kind: str
    status: str
    finished_at: datetime
    is_empty: bool


@dataclass(frozen=True)
class Table:
    """A table of the ledger: rows that would go, their size in bytes, rows that would stay."""

    name: str
    rows_removed: int
    bytes_removed: int
    rows_kept: int


@dataclass(frozen=True)
class Preview:
    """What pruning would remove.

    unfinished: runs and plans planned before then that nobody has closed; they are left alone
    """

    ended_before: datetime
    runs: list[Run]
    tables: list[Table]
    unfinished: int

    @property
    def rows_removed(self) -> int:
        """Rows of all tables."""
        return sum(table.rows_removed for table in self.tables)

    @property
    def bytes_removed(self) -> int:
        """Bytes of all tables."""
        return sum(table.bytes_removed for table in self.tables)


def cutoff(text: str, now: datetime) -> datetime:
    """The moment that --older-than means: 90d, 12w, 48h before now, or the beginning of a day, UTC.

    Raises TrueupError for anything else, and for a moment less than a day ago.
    """
    words = text.strip().lower()
    try:
        if found := re.fullmatch(r"([0-9]+)([hdw])", words):
            moment = now - int(found[1]) * UNITS[found[2]]
        else:
            day = date.fromisoformat(words)
            moment = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    except ValueError:
        raise TrueupError(f"--older-than is {text!r}; {ALLOWED}") from None
    except OverflowError:
        raise TrueupError(f"--older-than is {text!r}, before all time; {ALLOWED}") from None
    if now - moment < LEAST:
        raise TrueupError(
            f"--older-than {text} is less than a day ago; allowed: 1d or more",
            "What has just ended is still looked at: verified, rolled back, reported.",
        )
    return moment


def now(connected: Connection) -> datetime:
    """The database's clock, which is the one that runs are dated by."""
    ((moment,),) = connected.execute("select now()").fetchall()
    return moment  # type: ignore[no-any-return]


def look(settings: Settings, connected: Connection, ended_before: datetime) -> Preview:
    """What pruning would remove, without removing it; needs to read the ledger only."""
    found = statements.statements(settings)
    old = {"ended_before": ended_before}
    schema = ledger.schema(settings)
    query = sql.SQL("select count(*) from {} where status <> all(%s) and planned_at < %s")
    ((unfinished,),) = connected.execute(
        query.format(sql.Identifier(schema, "migration_runs")),
        [list(runs.FINISHED), ended_before],
    ).fetchall()
    return Preview(
        ended_before,
        [Run(*row) for row in found["prune__runs"].run(connected, **old)],
        [Table(*row) for row in found["prune__totals"].run(connected, **old)],
        unfinished,
    )


def check_rights(settings: Settings, connected: Connection) -> None:
    """TrueupError where this role may not delete from the ledger, with what is missing."""
    schema = ledger.schema(settings)
    rows = connected.execute(
        """
        select c.relname, pg_get_userbyid(c.relowner), current_user
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        where n.nspname = %s and c.relname = any(%s) and not has_table_privilege(c.oid, 'delete')
        order by c.relname
        """,
        (schema, list(TABLES)),
    ).fetchall()
    if rows:
        names = ", ".join(name for name, _, _ in rows)
        _, owner, role = rows[0]
        raise TrueupError(
            f"role {role} may not delete from {names} in schema {schema}",
            f"Pruning is for the ledger's owner: run it as {owner}. --dry-run needs no such right.",
        )


def remove(settings: Settings, connected: Connection, ended_before: datetime) -> dict[str, int]:
    """Remove it, in the caller's transaction; rows removed by table.

    Decides anew what is old: of what happened since `look`, nothing is lost.
    """
    statement = statements.statements(settings)["prune__remove"]
    return dict(statement.run(connected, ended_before=ended_before).fetchall())


def as_dict(preview: Preview, removed: dict[str, int] | None) -> dict[str, Any]:
    """For machines; removed: rows by table, None where nothing was removed."""
    return {
        "ended_before": preview.ended_before.isoformat(),
        "is_removed": removed is not None,
        "runs": [
            {
                "run_id": str(run.run_id),
                "kind": run.kind,
                "status": run.status,
                "finished_at": run.finished_at.isoformat(),
                "is_removed_whole": run.is_empty,
            }
            for run in preview.runs
        ],
        "tables": [
            {
                "table_name": table.name,
                "rows_removed": (removed or {}).get(table.name, table.rows_removed),
                "bytes_removed": table.bytes_removed,
                "rows_kept": table.rows_kept,
            }
            for table in preview.tables
        ],
        "unfinished_runs": preview.unfinished,
    }
