"""`trueup rollback`: undo the changes of a run, as a separate run.

SQL decides which rows are restored: a row that still has the value that the run wrote last, and
that no other run has changed since, gets the value it had before the run. Every other row is a
conflict: it is listed and left alone.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql

from trueup import findings
from trueup.core import config, ledger, records, runs, statements
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError
from trueup.core.runs import ROLLBACK
from trueup.core.settings import Settings
from trueup.core.statements import Statement, column_statement
from trueup.migration import plan
from trueup.migration.session import Event

# of a rollback, per column
PURPOSES = ("revert_batch", "keys_to_revert", "quarantine", "reopen_reverts", "unrestored_rows",
            "store_conflicts", "skip_to")  # fmt: skip


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
class Conflict:
    """A row that is left alone, with its values before the run, after the run, and now.

    reason: deleted, edited, or changed by a later run
    """

    table_name: str
    column_name: str
    row_key: str
    tenant: str | None
    value_before: str
    value_written: str
    value_now: str | None
    reason: str


@dataclass(frozen=True)
class Restored:
    """Rows that get a value back."""

    value_now: str
    value_restored: str
    rows: int


@dataclass(frozen=True)
class ColumnRollback:
    """The rollback of one column.

    reasons:   number of conflicts by reason
    conflicts: the first of them
    """

    table_name: str
    column_name: str
    batches: int
    values: list[Restored]
    reasons: dict[str, int]
    conflicts: list[Conflict]

    @property
    def rows(self) -> int:
        """Rows that are restored."""
        return sum(value.rows for value in self.values)


@dataclass(frozen=True)
class Rollback:
    """A rollback, planned or only previewed.

    run_id: of the rollback; None if it was not stored
    """

    reverted: runs.Run
    columns: list[ColumnRollback]
    run_id: uuid.UUID | None = None

    @property
    def rows(self) -> int:
        """Rows that are restored."""
        return sum(column.rows for column in self.columns)

    @property
    def batches(self) -> int:
        """Batches of all columns."""
        return sum(column.batches for column in self.columns)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of conflicts by reason."""
        found: dict[str, int] = {}
        for column in self.columns:
            for reason, rows in column.reasons.items():
                found[reason] = found.get(reason, 0) + rows
        return found

    @property
    def conflicts(self) -> list[Conflict]:
        """The first conflicts of each column."""
        return [conflict for column in self.columns for conflict in column.conflicts]


def find(connected: Connection, schema: str, wanted: str) -> runs.Run:
    """The run to roll back.

    Raises TrueupError if it was never started, or could still change rows.
    """
    everything = (*runs.PLANNED, *runs.UNFINISHED, *runs.FINISHED)
    run = runs.find(connected, schema, wanted, everything)
    if run.status in runs.PLANNED:
        raise TrueupError(
            f"run {run.short_id} was never started: there is nothing to roll back",
            f"`trueup cancel {run.short_id}` closes it.",
        )
    held = connected.execute(
        sql.SQL(
            "select lease_owner from {} where run_id = %s and lease_until >= now() limit 1"
        ).format(sql.Identifier(schema, "stage_migration_control")),
        [run.run_id],
    ).fetchone()
    if held or run.status not in runs.FINISHED:
        how = f"{held[0]} works on run {run.short_id}" if held else _unfinished(run)
        raise TrueupError(
            f"{how}; a run can be rolled back once it can no longer change rows",
            f"`trueup cancel {run.short_id}` closes it and keeps its changes;"
            f" then `trueup rollback {run.short_id}`.",
        )
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
    schema = ledger.schema(settings)
    managed = _entries(settings, connected, schema, reverted, scope)
    found = statements.statements(settings)
    findings = plan.examine(settings, connected, found, managed)
    connected.rollback()
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        made = _make(settings, connected, found, reverted, managed, scope, pace, findings, keep,
                     examples, progress)  # fmt: skip
        if made.run_id:
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


def nothing(connected: Connection, schema: str, made: Rollback) -> str:
    """Why a rollback has nothing to do, for people."""
    short = made.reverted.short_id
    reverting = connected.execute(
        sql.SQL(
            "select cast(runs.run_id as text) from {} as runs where runs.reverts_run_id = %s"
            " and exists (select 1 from {} as changes where changes.run_id = runs.run_id)"
            " order by runs.started_at desc limit 1"
        ).format(
            sql.Identifier(schema, "migration_runs"),
            sql.Identifier(schema, "stage_normalization_changes"),
        ),
        [made.reverted.run_id],
    ).fetchone()
    if not made.reasons:
        return f"Run {short} has changed no row."
    listed = ", ".join(f"{rows:,} {reason}" for reason, rows in sorted(made.reasons.items()))
    told = f"No row of run {short} can be restored: {listed}."
    if reverting:
        other = reverting[0][:8]
        told += f"\nIt was rolled back by run {other}; `trueup rollback {other}` undoes that."
    return told


def conflicts_of(connected: Connection, schema: str, run_id: uuid.UUID) -> int:
    """How many rows a rollback left alone because they had been changed since."""
    query = sql.SQL("select count(*) from {} where run_id = %s").format(
        sql.Identifier(schema, "migration_conflicts")
    )
    return int(connected.execute(query, [run_id]).fetchall()[0][0])


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
    found = {
        "reverts_run_id": str(made.reverted.run_id),
        "rows": made.rows,
        "batches": made.batches,
        "reasons": made.reasons,
        "columns": [
            {
                "table_name": column.table_name,
                "column_name": column.column_name,
                "rows": column.rows,
                "batches": column.batches,
                "values": [vars(value) for value in column.values],
                "reasons": column.reasons,
                "conflicts": [vars(conflict) for conflict in column.conflicts],
            }
            for column in made.columns
        ],
    }
    return records.as_json(found)


def _make(
    settings: Settings,
    connected: Connection,
    found: Mapping[str, Statement],
    reverted: runs.Run,
    managed: list[dict[str, Any]],
    scope: Scope,
    pace: plan.Pace,
    findings: list[findings.Finding],
    keep: bool,
    examples: int | None,
    progress: plan.Progress,
) -> Rollback:
    schema = ledger.schema(settings)
    found["begin_reading"].run(connected)
    run_id = uuid.uuid4()
    tenants = [None if tenant == runs.NO_TENANT else tenant for tenant in scope.tenants]
    options = {
        "tables": list(dict.fromkeys(entry["table"] for entry in managed)),
        "columns": list(dict.fromkeys(entry["column"] for entry in managed)),
        "tenants": tenants or None,
        "batch_size": reverted.options["batch_size"],
        "by_tenant": reverted.options["by_tenant"],
        "values_before": list(scope.values_before) or None,
        "reverts_batch_id": scope.batch_id,
        "planned_xid": plan.oldest_transaction(connected),
    }
    if keep:
        own = runs.stored(_own_statements(found, managed))
        versions = reverted.vocabulary_version
        plan.insert_run(settings, connected, schema, run_id, options, own, versions,
                        kind=ROLLBACK, reverts=reverted.run_id)  # fmt: skip
    bounds = _bounds(connected, schema, reverted)
    columns = []
    for number, entry in enumerate(managed):
        progress(f"{entry['table']}.{entry['column']}", number, len(managed))
        statement = found[column_statement("plan_reverts", entry["table"], entry["column"])]
        batches, values, reasons, conflicts = statement.run(
            connected, run_id=run_id, reverts_run_id=reverted.run_id, tenants=options["tenants"],
            values_before=options["values_before"], reverts_batch_id=scope.batch_id,
            examples=examples, is_kept=keep,
        ).fetchall()[0]  # fmt: skip
        place = (entry["table"], entry["column"])
        columns.append(
            ColumnRollback(
                *place,
                batches,
                [Restored(*value) for value in values],
                reasons,
                [Conflict(*place, *conflict) for conflict in conflicts],
            )
        )
        if keep and batches:
            plan.insert_control(connected, schema, run_id, entry, pace, bounds[place])
    made = Rollback(reverted, columns)
    if not keep or not made.rows:
        return made
    for table, column, bound in found["run_columns"].run(connected, run_id=run_id).fetchall():
        found[column_statement("revert_baselines", table, column)].run(
            connected, run_id=run_id, tenants=options["tenants"], range_end=bound
        )
    plan.seal(connected, schema, run_id, options, reverted.vocabulary_version, findings)
    return dataclasses.replace(made, run_id=run_id)


def _bounds(
    connected: Connection, schema: str, reverted: runs.Run
) -> dict[tuple[str, str], list[str] | None]:
    """The frozen bound of each column of the run; None of an empty table."""
    query = sql.SQL("select table_name, column_name, range_end from {} where run_id = %s").format(
        sql.Identifier(schema, "stage_migration_control")
    )
    found = connected.execute(query, [reverted.run_id]).fetchall()
    return {(table, column): range_end for table, column, range_end in found}


def _own_statements(
    found: Mapping[str, Statement], managed: Iterable[Mapping[str, Any]]
) -> dict[str, Statement]:
    own = plan.books(found)
    for entry in managed:
        for purpose in PURPOSES:
            name = column_statement(purpose, entry["table"], entry["column"])
            own[name] = found[name]
    return own


def _entries(
    settings: Settings, connected: Connection, schema: str, reverted: runs.Run, scope: Scope
) -> list[dict[str, Any]]:
    """The managed columns of the run in scope; TrueupError if the run does not have the scope."""
    places = connected.execute(
        sql.SQL("select table_name, column_name from {} where run_id = %s order by 1, 2").format(
            sql.Identifier(schema, "stage_migration_control")
        ),
        [reverted.run_id],
    ).fetchall()
    short = reverted.short_id
    for option, wanted, known in (
        ("--table", scope.table_names, [table for table, _ in places]),
        ("--column", scope.column_names, [column for _, column in places]),
    ):
        for name in wanted:
            if name not in known:
                raise TrueupError(
                    f"{option} {name} is not in run {short}; "
                    f"allowed: {', '.join(dict.fromkeys(known))}"
                )
    wanted_places = [
        (table, column)
        for table, column in places
        if (not scope.table_names or table in scope.table_names)
        and (not scope.column_names or column in scope.column_names)
    ]
    if scope.batch_id is not None:
        wanted_places = _of_batch(connected, schema, reverted, scope.batch_id, wanted_places)
    known_entries = {
        (entry["table"], entry["column"]): entry for entry in config.managed_columns(settings)
    }
    for table, column in wanted_places:
        entry = known_entries.get((table, column))
        if entry is None:
            raise TrueupError(
                f"{table}.{column} is no longer managed, so it cannot be written",
                "Add it to managed_columns of dbt_project.yml again, or leave it out with"
                " --table and --column.",
            )
        if scope.tenants and not entry.get("tenant"):
            raise plan.no_tenant(entry, "--tenant cannot narrow it")
    if not wanted_places:
        raise TrueupError(
            f"run {short} has no column named {', '.join(scope.column_names)} in "
            f"{', '.join(scope.table_names)}"
        )
    return [known_entries[place] for place in wanted_places]


def _of_batch(
    connected: Connection,
    schema: str,
    reverted: runs.Run,
    batch_id: int,
    places: list[tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    """The table and column of the batch; TrueupError if it is not in scope."""
    query = sql.SQL(
        "select table_name, column_name from {} where run_id = %s and batch_id = %s"
    ).format(sql.Identifier(schema, "stage_migration_batches"))
    found = connected.execute(query, [reverted.run_id, batch_id]).fetchall()
    if not found:
        raise TrueupError(
            f"--batch {batch_id} is not a batch of run {reverted.short_id}",
            "The view stage_normalization_log has the batch of every changed row.",
        )
    if found[0] not in places:
        raise TrueupError(f"--batch {batch_id} of {found[0][0]}.{found[0][1]} is not in scope")
    return found


def _unfinished(run: runs.Run) -> str:
    return f"run {run.short_id} is {run.status.replace('_', ' ')} and may be resumed"
