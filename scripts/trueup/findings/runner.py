"""The one runner of finding statements: a read-only snapshot, and no silence that passes for ok."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import psycopg
from psycopg import IsolationLevel
from psycopg.types.json import set_json_loads

from trueup.core import records
from trueup.core.connection import Connection
from trueup.core.errors import first_line
from trueup.core.statements import Statement
from trueup.findings import ERROR, FAIL, Finding

DIGITS = 4000  # of a whole number; Python refuses to read much longer ones
EXACT = 2**53  # from here on every float is a whole number

Progress = Callable[[str, int, int], None]


class Step(NamedTuple):
    """What is read at once.

    what:      words for people, shown while it is read and if that fails
    statement: None if there is none any more
    codes:     the findings that it answers; empty if each outcome has a code of its own
    values:    of its parameters; others are ignored
    speaks:    it always answers the first of its codes, or something, so silence is an error
    """

    what: str
    area: str
    statement: Statement | None
    codes: tuple[str, ...]
    values: Mapping[str, Any]
    speaks: bool = True


def begin(connected: Connection) -> None:
    """Begin the snapshot. The connection must not be in autocommit mode."""
    connected.rollback()
    connected.read_only = True
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    set_json_loads(loads, connected)
    connected.execute("select")  # now, so that each step is a savepoint in this transaction


def read(
    connected: Connection,
    steps: Sequence[Step],
    progress: Progress = lambda what, done, total: None,
) -> list[Finding]:
    """Run every step; one that fails or is silent becomes a finding of status error.

    progress: called with the step that is read next, how many were, and how many there are
    """
    found: list[Finding] = []
    for number, step in enumerate(steps):
        progress(step.what, number, len(steps))
        found += _read(connected, step)
    return found


def _read(connected: Connection, step: Step) -> list[Finding]:
    started = time.monotonic()
    try:
        if step.statement is None:
            raise LookupError("it has no statement: it is no longer managed")
        if connected.closed:
            raise LookupError("the connection was lost before it was read")
        with connected.transaction():
            rows = records.of(step.statement.run_with(connected, step.values))
        if step.speaks and _first(step, rows) is None:
            raise LookupError("the statement said nothing")
        found = [{**_EMPTY, "area": step.area, **row} for row in rows]
        if unworded := [row["code"] for row in found if row["message"] is None]:
            raise LookupError(f"it has no words for {', '.join(unworded)}")
    except (psycopg.Error, LookupError) as error:
        reason = first_line(error) if isinstance(error, psycopg.Error) else str(error)
        message = f"{step.what}: {_without_secrets(reason, connected)}"
        sample = [{"status": FAIL, "message": message}]
        found = [
            {**_EMPTY, "area": step.area, "code": code, "name": code if step.codes else step.area,
             "status": ERROR, "message": message, "found": message, "rows": 1, "sample": sample}
            for code in step.codes or (f"{step.area}__unread",)
        ]  # fmt: skip
    # what else a statement answers came with its first answer
    if payer := _first(step, found):
        payer["duration_ms"] = round((time.monotonic() - started) * 1000, 1)
    return [Finding(**row) for row in found]


def _first(step: Step, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Its first answer: of the first code it was asked for, or of any."""
    return next((row for row in rows if not step.codes or row["code"] == step.codes[0]), None)


_EMPTY: dict[str, Any] = {each.name: "" for each in fields(Finding)[:6]} | {
    "expected": None, "found": None, "remedy": None, "rows": None, "sample": [], "duration_ms": 0.0,
}  # fmt: skip


def loads(text: str | bytes) -> Any:
    """jsonb as Python has it, so that it is written and read again as the same text.

    Numbers that Python cannot read stay text, as does one that is too large for a float.
    """
    return json.loads(text, parse_float=_float, parse_int=_int)


def _float(text: str) -> float | int | str:
    value = float(text)
    if not math.isfinite(value):
        return text
    return int(value) if abs(value) >= EXACT else value


def _int(text: str) -> int | str:
    return int(text) if len(text) <= DIGITS else text


def _without_secrets(text: str, connected: Connection) -> str:
    """A server or a library may quote what it was given."""
    for secret in {connected.info.password, os.environ.get("PGPASSWORD")}:
        if secret:
            text = text.replace(secret, "***")
    return text
