"""`trueup rollback`: undo the changes of a run, as a separate run.

SQL decides which rows are restored: a row that still is what the run wrote last, and that no other
run has changed since, becomes what it was before the run. Every other row is a conflict: it is
listed and left alone.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel

from trueup.core import config, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.findings import Finding
from trueup.migration import plan
from trueup.migration.session import Event, begin_scan


@dataclass(frozen=True)
class Scope:
    """The changes of the run to undo; an empty field means all.

    tenants:       ids as text, `none` for the rows of no tenant
    batch_id:      of the original run
    values_before: the rows' values before the run
    """

    table_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    batch_id: int | None = None
    values_before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollback:
    """A rollback, planned or only previewed.

    columns: rows of the macro rollback_answer
    run_id:  of the rollback; None if it was not stored
    """

    reverted: runs.Run
    columns: list[dict[str, Any]]
    run_id: uuid.UUID | None = None

    @property
    def rows(self) -> int:
        """Rows that are restored."""
        return sum(column["rows"] for column in self.columns)

    @property
    def batches(self) -> int:
        """Batches of all columns."""
        return sum(column["batches"] for column in self.columns)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of conflicts by reason."""
        found: Counter[str] = Counter()
        for column in self.columns:
            found.update(column["reasons"])
        return dict(found)

    @property
    def conflicts(self) -> list[dict[str, Any]]:
        """The first conflicts of each column."""
        return [conflict for column in self.columns for conflict in column["conflicts"]]


def find(settings: Settings, connected: Connection, wanted: str, scope: Scope) -> runs.Run:
    """The run to roll back.

    Raises TrueupError if it was never started, could still change rows, or has no such scope.
    """
    everything = (*runs.PLANNED, *runs.UNFINISHED, *runs.FINISHED)
    run = runs.find(connected, ledger.schema(settings), wanted, everything)
    refusals = statements.statement(settings, "rollback__refusals")
    for row in records.rows(connected, refusals, **_asked(run, scope)):
        raise TrueupError(row["message"], row["remedy"])
    return run


def make(
    settings: Settings,
    connected: Connection,
    reverted: runs.Run,
    scope: Scope,
    pace: plan.Pace,
    keep: bool,
    examples: int | None = None,
    progress: plan.Progress = lambda what, done, total: None,
) -> Rollback:
    """Count the rows to restore, in one snapshot; keep: also store it as a run, in one transaction.

    pace:     batch_size, stripes and by_tenant are those of the original run
    examples: conflicts of each reason and column, None for all
    Nothing is written without `keep`, or if no row would be restored. The connection must not be in
    autocommit mode. Raises TrueupError for a scope that the run does not have, and if a table
    cannot be changed in place.
    """
    found = statements.statements(settings)
    record = _record(connected, found, reverted)
    bounds = {
        (table, column): range_end
        for table, column, range_end in found["rollback__places"].run(
            connected, **_asked(reverted, scope)
        )
    }
    own = plan.own_statements(found, record, bounds)
    findings: list[Finding] = []
    if record["statements"]["facts"]:
        managed = [entry for entry in config.managed_columns(settings)
                   if (entry["table"], entry["column"]) in bounds]  # fmt: skip
        findings = plan.examine(settings, connected, found, managed)
    tenants = [None if tenant == runs.NO_TENANT else tenant for tenant in scope.tenants]
    options = {
        "tables": list(dict.fromkeys(table for table, _ in bounds)),
        "columns": list(dict.fromkeys(column for _, column in bounds)),
        "tenants": tenants or None,
        "batch_size": reverted.options["batch_size"],
        "by_tenant": reverted.options["by_tenant"],
        "values_before": list(scope.values_before) or None,
        "reverts_batch_id": scope.batch_id,
    }
    connected.rollback()
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        begins = ["run__begin_reading", *runs.named(found, record, "begin")]
        begin_scan(found, connected, begins)
        run_id = uuid.uuid4()
        if keep:
            run_id = plan.store_run(
                settings, connected, found, reverted.record["rules"]["undone_by"], record, own,
                options, reverted.vocabulary_version, reverted.run_id,
            )  # fmt: skip
        columns = []
        asked = {**options, "run_id": run_id, "reverts_run_id": reverted.run_id,
                 "examples": examples, "is_kept": keep}  # fmt: skip
        for number, (place, range_end) in enumerate(bounds.items()):
            progress(".".join(place), number, len(bounds))
            column = _planned(connected, found, record, place, asked)
            columns.append(column)
            if keep and column["batches"]:
                steered = {"run_id": run_id, "table_name": place[0], "column_name": place[1],
                           "range_end": range_end, **vars(pace)}  # fmt: skip
                found["run__store_control"].run_with(connected, steered)
        made = Rollback(reverted, columns, run_id)
        if not keep or not made.rows:
            return Rollback(reverted, columns)
        for table, column, range_end in found["run__columns"].run(connected, run_id=run_id):
            for name in runs.named(found, record, "baselines", (table, column)):
                found[name].run(connected, run_id=run_id, tenants=options["tenants"],
                                range_end=range_end)  # fmt: skip
        plan.seal(connected, found, run_id, findings)
        connected.commit()
    except psycopg.errors.NumericValueOutOfRange:
        raise TrueupError(
            f"run {reverted.short_id} has more than {plan.MOST_SPELLINGS:,} different pairs of"
            " values to restore in one column",
            "Narrow the rollback with --tenant, and run it tenant by tenant.",
        ) from None
    finally:
        connected.rollback()
        connected.isolation_level = None
    return made


def nothing(settings: Settings, connected: Connection, made: Rollback) -> str:
    """Why a rollback has nothing to do, for people."""
    short = made.reverted.short_id
    if not made.reasons:
        return f"Run {short} has changed no row."
    listed = ", ".join(f"{rows:,} {reason}" for reason, rows in sorted(made.reasons.items()))
    told = f"No row of run {short} can be restored: {listed}."
    earlier = statements.statement(settings, "rollback__earlier")
    for (other,) in earlier.run(connected, run_id=made.reverted.run_id):
        told += f"\nIt was rolled back by run {other}; `trueup rollback {other}` undoes that."
    return told


def left_alone(rows: int) -> Event:
    """The event about conflicts at the end of a rollback."""
    few = "1 row was" if rows == 1 else f"{rows:,} rows were"
    return Event(
        "conflicts_left",
        f"{few} left alone, because they were changed since; migration_conflicts has the values",
        "warn",
        {"conflicts": rows},
    )


def as_json(made: Rollback) -> str:
    """For machines."""
    return records.as_json(
        {
            "reverts_run_id": str(made.reverted.run_id),
            "rows": made.rows,
            "batches": made.batches,
            "reasons": made.reasons,
            "columns": made.columns,
        }
    )


def _asked(run: runs.Run, scope: Scope) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "table_names": list(scope.table_names),
        "column_names": list(scope.column_names),
        "batch_id": scope.batch_id,
    }


def _record(
    connected: Connection, found: Mapping[str, Statement], reverted: runs.Run
) -> dict[str, Any]:
    """The kind of run that rolls this one back, with the statements that change rows.

    A rollback of a rollback runs the same statements, in the opposite order.
    """
    record = plan.kind(connected, found, reverted.record["rules"]["undone_by"])
    undo = reverted.record["planning"]["undo"]
    record["statements"]["change"] = undo
    record["planning"]["undo"] = undo[::-1]
    for each in ("check", "check_undone"):
        record["planning"][each] += reverted.record["planning"]["check_undone"]
    for name in ("lock_timeout_ms", "statement_timeout_ms"):
        record["rules"][name] = reverted.record["rules"][name]
    return record


def _planned(
    connected: Connection,
    found: Mapping[str, Statement],
    record: Mapping[str, Any],
    place: tuple[str, str],
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """The rollback of one column, a row of the macro rollback_answer."""
    (name,) = runs.named(found, record, "plan", place)
    if name not in found:
        raise plan.no_statement(name, place)
    known = found[name].parameters
    for option, shown, what in (("tenants", "--tenant", "tenant column"),
                                ("values_before", "--value-before", "single value")):  # fmt: skip
        if asked[option] and option not in known:
            raise TrueupError(
                f"{'.'.join(place)} has no {what}, so {shown} cannot narrow it",
                "Select the tables that have one with --table.",
            )
    return records.of(found[name].run_with(connected, asked))[0]
