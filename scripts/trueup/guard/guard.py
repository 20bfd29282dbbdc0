"""Install, seal and drop the guard of a column; change modes; count.

What is executed comes from analyses/guard.sql. Commands that change a table take a lock that no
writer may wait for long: they are tried again under a short lock_timeout.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from trueup.core import records, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.settings import Settings
from trueup.findings import FAILED, Finding, runner, store

LOCK_TIMEOUT_MS = 1000  # how long a writer may have to wait behind us
ATTEMPTS = 60
PAUSE_SECONDS = 0.5
# the environment variables that fill a scope without a recorded mode, by parameter
VARIABLES = {
    "mode": "STAGE_VALIDATION_MODE",
    "write_only": "ENFORCE_WRITE_ONLY",
    "percent": "ENFORCEMENT_PERCENT",
    "dry_run": "STAGE_VALIDATION_DRY_RUN",
}

Report = Callable[[str], None]


def scopes(
    settings: Settings, connected: Connection, wanted: Sequence[str] = (), installed: bool = False
) -> list[str]:
    """The scopes that are meant by `column`, `table.column`, `schema.table.column` or `/endpoint`.

    wanted: none for all managed columns; installed: only columns that have a guard.
    Raises TrueupError for a name that is none of them, or could be several.
    """
    known = records.rows(connected, statements.statement(settings, "guard__scopes"))
    possible = [row for row in known if row["is_installed"] or not installed]
    if not wanted:
        return [row["scope"] for row in possible]
    found = [name for name in wanted if name.startswith("/")]
    for name in (name for name in wanted if name not in found):
        fits = [
            row["scope"] for row in possible
            if name in (row["scope"], f"{row['table_name']}.{row['column_name']}",
                        row["column_name"])
        ]  # fmt: skip
        if len(fits) != 1:
            allowed = ", ".join(row["scope"] for row in possible) or "none has a guard"
            raise TrueupError(
                f"{name} is {'not one column' if fits else 'no column'} with"
                f" {'a guard' if installed else 'an entry in managed_columns'}",
                f"Allowed: {allowed}",
            )
        found += fits
    return list(dict.fromkeys(found))


def install(
    settings: Settings,
    connected: Connection,
    scope: str,
    report: Report,
    environment: str | None = None,
) -> str:
    """Install the triggers of a column and copy the keys of its vocabulary, in one transaction.

    A scope without a recorded mode gets the one of the environment variables, if they name one.
    environment: production, staging or development; None keeps the recorded one.
    Returns what was done: a sealed column is left alone.
    """
    own = statements.statements(settings)
    if any(row["scope"] == scope and row["is_sealed"]
           for row in records.rows(connected, own["guard__scopes"])):  # fmt: skip
        return f"is sealed; `trueup guard seal {scope}` renews its CHECK"

    def work() -> None:
        _execute(connected, own["guard__triggers"], scope=scope)
        if not records.rows(
            connected, own["guard__register"], scope=scope, environment=environment
        ):
            raise TrueupError(f"{scope}: its vocabulary is not built yet", "Run `dbt build`.")
        own["guard__begin_mode"].run(connected, scope=scope, **_given())

    _under_lock(connected, f"installing the guard of {scope}", work, report)
    return "the guard is installed"


def seal(
    settings: Settings, connected: Connection, scope: str, reason: str | None, override: bool,
    report: Report,
) -> Finding:  # fmt: skip
    """Replace the triggers of a column by a CHECK, after every row was looked at.

    Raises TrueupError if rows are left that the CHECK refuses. Returns what became of the mode.
    """
    own = statements.statements(settings)
    check = records.rows(connected, own["guard__seal"], scope=scope)[0]

    def change() -> Finding:
        return set_mode(settings, connected, scope, "sealed", reason=reason, is_override=override)

    def execute(name: str) -> None:
        _under_lock(connected, f"{name} the CHECK of {scope}",
                    lambda: connected.execute(check[name]), report)  # fmt: skip

    def raise_dirty(least: int) -> None:
        ((dirty,),) = connected.execute(check["counted"]).fetchall()
        connected.rollback()
        if dirty >= least:
            raise TrueupError(
                f"{scope} cannot be sealed: the CHECK would refuse {dirty:,} of its rows",
                "`trueup plan` says what becomes of them, `trueup apply` changes them.",
            )

    asked = change()
    if asked.code not in ("guard__not_sealed", "guard__mode_is_set"):
        connected.commit()
        return asked
    connected.rollback()
    raise_dirty(1)
    if not check["is_added"]:
        execute("adding")
    try:
        report(f"looking at every row of {scope}")
        connected.execute("set local statement_timeout = 0")
        connected.execute(check["validating"])
        connected.commit()
    except psycopg.errors.CheckViolation:  # a row was written since they were counted
        connected.rollback()
        execute("removing")
        raise_dirty(0)

    def work() -> None:
        nonlocal asked
        asked = change()
        if asked.status not in FAILED:
            _execute(connected, own["guard__drop"], scope=scope, kept=check["name"])
            own["guard__register"].run(connected, scope=scope, environment=None)

    _under_lock(connected, f"dropping the triggers of {scope}", work, report)
    return asked


def drop(
    settings: Settings, connected: Connection, scope: str, reason: str | None, report: Report
) -> None:
    """Drop triggers and CHECK of a column; its mode becomes off, its events stay."""
    own = statements.statements(settings)

    def work() -> None:
        _execute(connected, own["guard__drop"], scope=scope, kept=None)
        own["guard__forget"].run(connected, scope=scope, reason=reason or "guard dropped")

    _under_lock(connected, f"dropping the guard of {scope}", work, report)


def fit(settings: Settings, connected: Connection, scope: str, report: Report) -> None:
    """Install the triggers again if the mode asks for others than there are."""
    late = [each for each in findings(settings, connected, scope)
            if each.code == "guard__other_mode"]  # fmt: skip
    connected.rollback()
    try:
        if late:
            install(settings, connected, scope, report)
    except psycopg.errors.InsufficientPrivilege as error:
        connected.rollback()
        report(f"{late[0].message}: {first_line(error)}\n{late[0].remedy}")


def set_mode(
    settings: Settings,
    connected: Connection,
    scope: str,
    mode: str,
    percent: float | None = None,
    shadow: bool | None = None,
    expect_version: int | None = None,
    reason: str | None = None,
    is_override: bool = False,
    write_only: bool | None = None,
) -> Finding:
    """Change a mode, in the caller's transaction; it is set, or why it is not.

    percent: above 0, to 100; None for percent, shadow or write_only keeps what is recorded.
    """
    connected.execute("select")  # else the next one would be a transaction of its own
    step = runner.Step(
        "changing the mode", "guard", statements.statement(settings, "guard__set_mode"), (),
        {"scope": scope, "mode": mode, "percent": percent, "shadow": shadow,
         "expect_version": expect_version, "actor": f"{store.user()} as {connected.info.user}",
         "reason": reason, "is_override": is_override, "write_only": write_only},
    )  # fmt: skip
    return runner.read(connected, [step])[0]


def findings(settings: Settings, connected: Connection, scope: str | None = None) -> list[Finding]:
    """Whether the guards are in force, are counted, and agree with the environment variables.

    scope: None for all. Raises TrueupError if a variable has a value that is not allowed.
    """
    own = statements.statements(settings)
    steps = [runner.Step(name, "guard", own[name], (), _given(), speaks=False)
             for name in ("guard__environment", "guard__findings")]  # fmt: skip
    found = runner.read(connected, steps)
    for each in found:
        if each.code == "guard__wrong_variable":
            raise TrueupError(each.message, each.remedy)
    return [each for each in found if scope in (None, each.subject)]


def _execute(connected: Connection, statement: statements.Statement, **values: Any) -> None:
    """Execute the commands that a statement returns."""
    for (command,) in statement.run(connected, **values).fetchall():
        connected.execute(command)


def _given() -> dict[str, str | None]:
    return {name: os.environ.get(variable) or None for name, variable in VARIABLES.items()}


def _under_lock(connected: Connection, what: str, work: Callable[[], Any], report: Report) -> None:
    """Do it and commit; again and again if the lock of the table is not free."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            connected.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}".encode())
            work()
            connected.commit()
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            connected.rollback()
            if attempt == ATTEMPTS:
                raise TrueupError(
                    f"{what}: the table was never free: {first_line(error)}",
                    "Look for a transaction that is open for long, end it, and try again.",
                ) from None
            report(f"{what}: the table is in use, trying again ({attempt})")
            time.sleep(PAUSE_SECONDS)
