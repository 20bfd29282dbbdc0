"""`trueup ledger prune`: removes records of old runs that are no longer needed.

Runs that changed nothing are deleted. All other runs lose only the rows that planning and
verification read: the audit stays, and everything that a rollback needs.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

from trueup.core import records, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LEAST = timedelta(days=1)
ALLOWED = "allowed: a number of hours, days or weeks (48h, 90d, 12w), or a day (2026-01-31)"


def cutoff(text: str, now: datetime) -> datetime:
    """The time that --older-than means: 90d, 12w, 48h before now, or the beginning of a day, UTC.

    Raises TrueupError for anything else, and for a time less than a day ago.
    """
    words = text.strip().lower()
    try:
        if found := re.fullmatch(r"([0-9]+)([hdw])", words):
            moment = now - int(found[1]) * UNITS[found[2]]
        else:
            day = date.fromisoformat(words)
            moment = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        raise TrueupError(f"--older-than is {text!r}; {ALLOWED}") from None
    if now - moment < LEAST:
        raise TrueupError(
            f"--older-than {text} is less than a day ago; allowed: 1d or more",
            "A run that has just ended may still need to be verified, rolled back or reported.",
        )
    return moment


def look(settings: Settings, connected: Connection, older_than: str) -> dict[str, Any]:
    """A preview of pruning; reads the ledger only. The document of `--format json`.

    tables: per table the rows to delete, their size in bytes, and the rows that stay
    unfinished_runs: planned before that time and not closed; they are left alone
    """
    found = statements.statements(settings)
    ((now,),) = connected.execute("select now()").fetchall()  # runs are dated by this clock
    old = {"ended_before": cutoff(older_than, now)}
    ((unfinished,),) = found["prune__unfinished"].run(connected, **old).fetchall()
    return {
        **old,
        "is_removed": False,
        "runs": records.rows(connected, found["prune__runs"], **old),
        "tables": records.rows(connected, found["prune__totals"], **old),
        "unfinished_runs": unfinished,
    }


def check_rights(settings: Settings, connected: Connection) -> None:
    """TrueupError if this role may not delete from the ledger."""
    found = statements.statements(settings)["prune__missing_rights"].run(connected)
    for owner, table_names in found.fetchall():
        raise TrueupError(
            f"role {connected.info.user} may not delete from {table_names}",
            f"Pruning is for the ledger's owner: run it as {owner}. --dry-run needs no such right.",
        )


def remove(settings: Settings, connected: Connection, seen: dict[str, Any]) -> dict[str, Any]:
    """Remove it, in the caller's transaction; returns the document of `look` with what was removed.

    Selects the old rows again: changes made after `look` are kept.
    """
    statement = statements.statements(settings)["prune__remove"]
    removed: dict[str, int] = dict(
        statement.run(connected, ended_before=seen["ended_before"]).fetchall()
    )
    tables = [{**each, "rows_removed": removed.get(each["table_name"], 0)}
              for each in seen["tables"]]  # fmt: skip
    return {**seen, "is_removed": True, "tables": tables}
