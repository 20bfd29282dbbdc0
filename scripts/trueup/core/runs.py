"""The runs of the ledger: find one, read it, ask it to pause or to cancel.

What is here must work for a run whose statements were edited, and without a compiled project. All
else is done by the statements that a run carries.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.statements import Statement, column_statement

NO_TENANT = "none"  # among tenants: the rows of no tenant
# planned → running → one of the other statuses; a run with a status of UNFINISHED can be resumed.
PLANNED = ("planned",)
UNFINISHED = ("running", "paused", "interrupted", "failed", "completed_with_failures")
OPEN = UNFINISHED[:-1]
FINISHED = ("completed", "cancelled")
BEGUN = (*UNFINISHED, *FINISHED)


@dataclass(frozen=True)
class Run:
    """One row of migration_runs.

    record:     the kind of run: words, rules, statements by purpose; see the macro run_kind
    options:    of `trueup plan`: batch_size, stripes, tenants, ...
    statements: name → {parameters, sql}, the compiled text that apply runs
    """

    run_id: UUID
    kind: str
    status: str
    record: dict[str, Any]
    options: dict[str, Any]
    statements: dict[str, Any]
    vocabulary_version: str
    sources_sha256: str
    plan_sha256: str
    sql_sha256: str
    operator: str
    environment: str
    planned_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def short_id(self) -> str:
        """The first eight digits, enough to name a run by hand."""
        return str(self.run_id)[:8]


COLUMNS = ", ".join(Run.__dataclass_fields__)


def find(
    connected: Connection,
    schema: str,
    wanted: str | None,
    statuses: Collection[str],
    first: Collection[str] = (),
    command: str | None = None,
) -> Run:
    """A run by its id or the beginning of it; without one, the first in migration_run_states.

    statuses: allowed ones. first: without an id, statuses that are chosen first.
    command:  without an id, only kinds of runs that this command may choose; None for any.

    Raises TrueupError if there is no such run, or if it has another status.
    """
    if wanted is not None and not re.fullmatch(r"[0-9a-f-]{4,36}", wanted.lower()):
        raise TrueupError(
            f"{wanted!r} is not a run; a run is named by its id, or by the first 4 digits or more",
            "`trueup runs` lists them.",
        )
    condition = (
        sql.SQL(
            "place is not null and status = any(%(statuses)s) and (cast(%(command)s as text) is"
            " null or record #> '{rules,picked_by}' ? %(command)s)"
        )
        if wanted is None
        else sql.SQL("cast(run_id as text) like %(wanted)s")
    )
    query = sql.SQL(
        "select {} from {} inner join {} using (run_id) where {}"
        " order by status = any(%(first)s) desc, place limit 2"
    ).format(
        sql.SQL(COLUMNS),
        sql.Identifier(schema, "migration_runs"),
        sql.Identifier(schema, "migration_run_states"),
        condition,
    )
    values = {
        "statuses": list(statuses),
        "first": list(first),
        "command": command,
        "wanted": f"{(wanted or '').lower()}%",
    }
    with connected.cursor(row_factory=class_row(Run)) as cursor:
        found = cursor.execute(query, values).fetchall()
    if not found:
        what = f"no run {wanted}" if wanted else _none_of(statuses)
        raise TrueupError(what, "`trueup runs` lists all runs, `trueup plan` makes one.")
    if wanted and len(found) > 1:
        raise TrueupError(
            f"{wanted} is the beginning of {found[0].run_id} and of {found[1].run_id}",
            "Give more digits.",
        )
    words = found[0].record.get("words", {})
    if command in ("apply", "pause", "resume") and words.get("whole"):
        raise TrueupError(
            f"`trueup {command}` does not work on {words['noun']} {found[0].short_id}",
            words["whole"],
        )
    if found[0].status not in statuses:
        raise TrueupError(
            f"run {found[0].short_id} is {found[0].status}; allowed: {', '.join(statuses)}",
            _way_out(found[0]),
        )
    return found[0]


def request(
    connected: Connection, schema: str, run: Run, status: str, statuses: Collection[str]
) -> str | None:
    """Ask the runner to pause or to cancel; returns its name, or None if no runner is alive.

    The runner obeys within one batch. Locks the run, see `lock`.
    """
    lock(connected, schema, run, statuses)
    row = connected.execute(
        sql.SQL(
            "update {} set requested_status = %s, updated_at = now() where run_id = %s"
            " returning case when lease_until >= now() then lease_owner end"
        ).format(sql.Identifier(schema, "stage_migration_control")),
        [status, run.run_id],
    ).fetchone()
    return row[0] if row else None


def lock(connected: Connection, schema: str, run: Run, statuses: Collection[str]) -> None:
    """Until the transaction ends, no other session can start or end the run.

    Raises TrueupError if its status has changed since it was read.
    """
    query = sql.SQL("select status from {} where run_id = %s for no key update").format(
        sql.Identifier(schema, "migration_runs")
    )
    for (status,) in connected.execute(query, [run.run_id]).fetchall():
        if status not in statuses:
            raise TrueupError(
                f"run {run.short_id} is {status} now; allowed: {', '.join(statuses)}",
                "Nothing was changed. `trueup runs` lists them all.",
            )


def why_unverifiable(connected: Connection, schema: str, run_id: UUID) -> str | None:
    """Why there are no counts from before a run to compare with, for people; None if there are."""
    query = sql.SQL(
        "select case"
        " when exists (select from {baselines} where run_id = %(run_id)s) then null"
        " when exists (select from {changes} where run_id = %(run_id)s)"
        " then '`trueup ledger prune` has removed the counts from before it'"
        " when not exists (select from {batches} where run_id = %(run_id)s)"
        " then 'it had nothing to change' end"
    ).format(
        batches=sql.Identifier(schema, "stage_migration_batches"),
        changes=sql.Identifier(schema, "stage_normalization_changes"),
        baselines=sql.Identifier(schema, "migration_baselines"),
    )
    ((why,),) = connected.execute(query, {"run_id": run_id}).fetchall()
    return None if why is None else str(why)


def statements(run: Run) -> dict[str, Statement]:
    """The run's own statements; TrueupError if they differ from the plan."""
    if statements_digest(run.statements) != run.sql_sha256:
        raise TrueupError(
            f"the statements of run {run.short_id} differ from its plan",
            "The ledger was edited. Cancel this run with `trueup cancel`, then make a new plan.",
        )
    return {
        name: Statement(name, tuple(each["parameters"]), each["sql"])
        for name, each in run.statements.items()
    }


def named(
    found: Mapping[str, Any], record: Mapping[str, Any], purpose: str, place: tuple[str, ...] = ()
) -> list[str]:
    """Names of the statements of a kind of run for a purpose: the column's own if it has them.

    place: table and column; purpose: of `statements` or `planning` in the record
    """
    names = record["statements"].get(purpose) or record["planning"].get(purpose) or []
    own = [column_statement(name, *place) if place else name for name in names]
    return [each if each in found else name for each, name in zip(own, names, strict=True)]


def stored(found: Mapping[str, Statement]) -> dict[str, Any]:
    """Statements as the ledger keeps them."""
    return {
        name: {"parameters": list(each.parameters), "sql": each.sql} for name, each in found.items()
    }


def statements_digest(found: Mapping[str, Any]) -> str:
    """SHA-256 of stored statements, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _none_of(statuses: Collection[str]) -> str:
    """Says that no run has one of these statuses."""
    if tuple(statuses) == PLANNED:
        return "there is no plan that was not started yet"
    if set(statuses) <= set(UNFINISHED):
        return "there is no unfinished run"
    if set(PLANNED) <= set(statuses):
        return "there is no plan and no unfinished run"
    return "no run has started yet"


def _way_out(run: Run) -> str:
    if run.status in PLANNED:
        return f"`trueup apply {run.short_id}` starts it."
    if run.status in UNFINISHED:
        return f"`trueup resume {run.short_id}` continues it, `trueup cancel` closes it."
    return "`trueup plan` makes a new one."
