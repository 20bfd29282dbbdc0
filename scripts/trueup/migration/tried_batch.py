"""The batch that a rehearsal tries out, in a transaction that is rolled back.

As `trueup apply` runs it: the database says which rows it refuses, what triggers change besides,
and how long it takes. Rows are locked for one batch, and no longer.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from trueup.core import runs
from trueup.core.connection import Connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.statements import Rows, Statement, column_statement
from trueup.migration import plan, tables
from trueup.migration.session import TIMEOUT_SHARE, classify
from trueup.migration.worker import Piece, looks_up

EXAMPLES = 3  # rows that the database refuses, shown with their reason
TRIES = 60  # transactions that look for them
MOST_BYTES = 64 * 1024**2  # of the rows of one try: they are read whole
SHOWN = 200  # characters of a value that is shown

QUARANTINED, STOPS, KEPT = "quarantined", "stops the run", "left as it is"


@dataclass(frozen=True)
class Refusal:
    """What `trueup apply` would end with exit code 1 for.

    row_key:     the row; None where it is no single one
    consequence: quarantined, stops the run, or left as it is (no error, and no change either)
    """

    row_key: str | None
    sqlstate: str | None
    message: str
    consequence: str


@dataclass(frozen=True)
class OtherColumn:
    """A column that changes with the managed one: set by a trigger, or generated.

    rows: how many of the rows that were changed; row_key, before, after: of one of them
    """

    column_name: str
    rows: int
    row_key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class OtherRows:
    """Rows of other tables, or other rows of the same one, that triggers write."""

    relation: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Tryout:
    """The batch that was rolled back.

    rows:         that the plan would change in what was tried; rows_changed: that were changed
    duration_ms:  of its transaction, without the commit; None where nothing went through
    is_complete:  every refused row is listed, not only the first ones
    new_values:   what triggers gave to the other columns of one row; not stored
    """

    batch_id: int
    rows_planned: int
    rows: int
    rows_changed: int
    duration_ms: float | None
    refusals: list[Refusal]
    is_complete: bool
    other_columns: list[OtherColumn]
    other_rows: list[OtherRows]
    notes: list[str]
    new_values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One column of a planned run, and what its rehearsal needs to know.

    own:    the plan's statements; found: those of the project
    values: values_before, values_after, map_ids as apply_batch takes them
    images: whether the log gets this table's pages whole: with its first column, not with others
    """

    connected: Connection
    run: runs.Run
    own: Mapping[str, Statement]
    found: Mapping[str, Statement]
    column: plan.ColumnPlan
    facts: tables.TableFacts
    server: tables.ServerFacts
    schema: str
    lock_timeout_ms: int
    sleep_ms: int
    workers: int
    values: Mapping[str, str]
    images: bool

    @property
    def place(self) -> tuple[str, str]:
        """Table and column."""
        return self.column.table_name, self.column.column_name

    @property
    def tenants(self) -> list[str | None] | None:
        """As the plan has them."""
        tenants: list[str | None] | None = self.run.options["tenants"]
        return tenants

    @property
    def by_tenant(self) -> bool:
        """Whether a batch is rows of one tenant."""
        return bool(self.run.options.get("by_tenant", False))

    def call(self, statement: str, **values: Any) -> Rows:
        """A statement, with those of the values that it takes."""
        named = self.own.get(statement) or self.found[statement]
        return named.run(self.connected, **{name: values[name] for name in named.parameters})

    def of_column(self, purpose: str) -> str:
        """The name of the column's own statement."""
        return column_statement(purpose, *self.place)


class Row(NamedTuple):
    """A row as the database has it; other_columns: JSON of all but the managed one."""

    row_key: str
    row_version: str
    value: str | None
    other_columns: str


class _Done(NamedTuple):
    """A try that went through, and was rolled back."""

    rows_changed: int
    duration_ms: float
    rows: dict[str, Row]
    writes: list[OtherRows]


def try_out(job: Job) -> Tryout | None:
    """Run the fullest batch and roll it back; None where no batch is open any more."""
    found = job.call(
        "rehearsal__batch",
        run_id=job.run.run_id,
        table_name=job.column.table_name,
        column_name=job.column.column_name,
    ).fetchone()
    job.connected.rollback()
    if found is None:
        return None
    batch_id, start, end, stripe, stripes, hashed, dense, fund_id, rows_planned = found
    whole = Piece(start, end, stripe, stripes)
    batch = {
        **job.values,
        "batch_id": batch_id,
        "hashed": hashed,
        "dense": looks_up(dense, whole),
        "tenants": [fund_id] if job.by_tenant else job.tenants,
        "by_tenant": job.by_tenant,
        "fund_id": fund_id,
        "canonical_values": None,
    }
    return _Trial(job, batch, rows_planned).run(whole)


class _Trial:
    """The tries of one batch, and what they have shown so far."""

    def __init__(self, job: Job, batch: Mapping[str, Any], rows_planned: int) -> None:
        self.job = job
        self.batch = batch
        self.rows_planned = rows_planned
        self.tries = 0
        self.rows = 0
        self.rows_changed = 0
        self.duration_ms: float | None = None
        self.refusals: list[Refusal] = []
        self.is_complete = True
        self.changes: dict[str, list[tuple[str, Any, Any]]] = {}
        self.writes: dict[str, OtherRows] = {}
        self.notes: list[str] = []

    def run(self, whole: Piece) -> Tryout:
        """From the whole batch to the single rows that are refused, where there are any."""
        pieces = deque([self._narrow(whole)])
        while pieces:
            if self.tries >= TRIES or len(self.refusals) >= EXAMPLES:
                self.is_complete = False
                break
            piece = pieces.popleft()
            before = self._read("rehearsal_rows", **piece._asdict())
            self.tries += 1
            try:
                done = self._try(piece, before)
            except psycopg.Error as error:
                pieces.extendleft(reversed(self._after_error(piece, error)))
                if self.refusals and self.refusals[-1].consequence == STOPS:
                    break
                continue
            self._note(piece, before, done)
        return self._result()

    def _narrow(self, whole: Piece) -> Piece:
        """As much of the batch as may be read at once."""
        width = self.job.facts.bytes / max(self.job.facts.estimated_rows or 0, 1)
        most = max(int(MOST_BYTES / width), 1) if self.job.facts.estimated_rows else None
        if most is None or self.rows_planned <= most:
            return whole
        self.notes.append(f"only the first {most:,} rows of the batch were tried: rows are wide")
        return self._first(whole, self._keys(whole)[:most])

    def _try(self, piece: Piece, before: Mapping[str, Row]) -> _Done:
        """One transaction, sent as a whole: nothing waits for us while rows are locked."""
        job = self.job
        connected = job.connected
        limit = int(job.server.deadlock_timeout_ms * TIMEOUT_SHARE)
        token = uuid.uuid4()
        writes = {"table_name": job.facts.qualified, "ledger_schema": job.schema}
        values = {**self.batch, **piece._asdict(), "lease_token": token}
        try:
            with connected.pipeline():
                job.call(
                    "begin_batch",
                    lock_timeout=f"{min(job.lock_timeout_ms, limit)}ms",
                    statement_timeout=f"{limit}ms",
                    transaction_timeout=f"{limit * 3}ms",
                )
                job.call("rehearsal__take", **values)
                written_before = job.call("rehearsal__writes", **writes)
                changed = job.call(job.of_column("apply_batch"), **values)
                finished = job.call("finish_piece", **values, is_last=True, error_message=None)
                connected.execute("set constraints all immediate")
                rows = job.call(
                    job.of_column("rehearsal_rows_again"),
                    row_keys=list(before),
                )
                written = job.call("rehearsal__writes", **writes)
                connected.execute("rollback")
        finally:
            if not connected.closed:
                connected.rollback()
        count, state = changed.fetchone(), finished.fetchone()
        if count is None or state is None:
            raise TrueupError(
                f"batch {self.batch['batch_id']} is not open any more: somebody works on the plan",
                "Nothing was changed. `trueup status` shows who.",
            )
        return _Done(
            rows_changed=int(count[0]),
            duration_ms=float(state[3]),
            rows={row[0]: Row(*row) for row in rows},
            writes=_difference(written_before, written, int(count[0])),
        )

    def _after_error(self, piece: Piece, error: psycopg.Error) -> list[Piece]:
        """Smaller pieces to try, or none where one row is left, or where it is no row's fault."""
        kind = classify(error)
        if self.job.connected.closed:
            raise error
        message = first_line(error)
        if kind == "bad row":
            keys = self._keys(piece)
            if len(keys) > 1:
                middle = keys[len(keys) // 2 - 1]
                return [piece._replace(range_end=middle), piece._replace(range_start=middle)]
            if keys and not piece.is_row:
                return [piece._replace(range_end=keys[0], is_row=True)]
            if keys:
                key = ",".join(keys[0])
                self.refusals.append(Refusal(key, error.sqlstate, message, QUARANTINED))
                self.rows += 1
        elif error.sqlstate == "57014":
            keys = self._keys(piece)
            if len(keys) > 1:
                self.notes.append(
                    f"{len(keys):,} rows took longer than a batch may: apply cuts it smaller"
                )
                return [self._first(piece, keys[: len(keys) // 2])]
            self.notes.append(f"even one row takes longer than a batch may: {message}")
        elif kind == "retry":
            self.notes.append(
                f"not tried, others held rows of it: {message}; apply waits and tries again"
            )
        else:
            self.refusals.append(Refusal(None, error.sqlstate, message, STOPS))
        return []

    def _note(self, piece: Piece, before: Mapping[str, Row], done: _Done) -> None:
        """What a try has shown, but for rows that somebody else has changed meanwhile."""
        self.rows += done.rows_changed
        self.rows_changed += done.rows_changed
        self.duration_ms = (self.duration_ms or 0) + done.duration_ms
        for each in done.writes:
            known = self.writes.get(each.relation, OtherRows(each.relation, 0, 0, 0))
            self.writes[each.relation] = OtherRows(
                each.relation,
                known.inserted + each.inserted,
                known.updated + each.updated,
                known.deleted + each.deleted,
            )
        suspects = [
            key
            for key, row in before.items()
            if key not in done.rows
            or done.rows[key].value == row.value
            or done.rows[key].other_columns != row.other_columns
        ]
        if not suspects:
            return
        again = self._read(
            "rehearsal_rows_again",
            row_keys=suspects,
        )
        kept = []
        for key in suspects:
            old, new = before[key], done.rows.get(key)
            if key not in again or again[key].row_version != old.row_version:
                continue  # an edit of somebody else
            if new is None or new.value == old.value:
                kept.append(key)
            else:
                self._compare(key, old, new)
        if kept:
            self.rows += len(kept)
            keys = ", ".join(kept[:EXAMPLES])
            message = f"{len(kept):,} rows keep their value, without an error: {keys}"
            self.refusals.append(Refusal(kept[0], None, message, KEPT))

    def _compare(self, key: str, old: Row, new: Row) -> None:
        before, after = (
            json.loads(row.other_columns, parse_float=str, parse_int=str) for row in (old, new)
        )
        for name in after:
            if before.get(name) != after[name]:
                self.changes.setdefault(name, []).append((key, before.get(name), after[name]))

    def _result(self) -> Tryout:
        return Tryout(
            batch_id=self.batch["batch_id"],
            rows_planned=self.rows_planned,
            rows=self.rows,
            rows_changed=self.rows_changed,
            duration_ms=self.duration_ms,
            refusals=self.refusals,
            is_complete=self.is_complete,
            other_columns=[
                OtherColumn(name, len(seen), seen[0][0], _shown(seen[0][1]), _shown(seen[0][2]))
                for name, seen in sorted(self.changes.items())
            ],
            other_rows=list(self.writes.values()),
            notes=self.notes,
            new_values={
                name: seen[0][2]
                for name, seen in self.changes.items()
                if len(seen) * 2 >= self.rows_changed
            },
        )

    def _keys(self, piece: Piece) -> list[list[str]]:
        """Keys of the rows to change, in order."""
        values = {**self.batch, **piece._asdict()}
        found = self.job.call(self.job.of_column("keys_to_change"), **values).fetchall()
        self.job.connected.rollback()
        return [key for (key,) in found]

    def _first(self, piece: Piece, keys: list[list[str]]) -> Piece:
        return piece._replace(range_end=keys[-1]) if keys else piece

    def _read(self, purpose: str, **values: Any) -> dict[str, Row]:
        """Rows by key, read without a lock."""
        named = {**self.batch, **values}
        found = self.job.call(self.job.of_column(purpose), **named).fetchall()
        self.job.connected.rollback()
        return {row[0]: Row(*row) for row in found}


def _difference(before: Rows, after: Rows, rows_changed: int) -> list[OtherRows]:
    """What was written between two looks, but for the rows of the batch itself."""

    def counted(found: Rows) -> dict[tuple[str, bool], list[int]]:
        return {(name, own): [ins, upd, dele] for ins, upd, dele, name, own in found}

    first, found = counted(before), []
    own = [0, 0, 0]
    own_name = ""
    for (name, is_own), numbers in counted(after).items():
        known = first.get((name, is_own), [0, 0, 0])
        written = [number - was for number, was in zip(numbers, known, strict=True)]
        if is_own:
            own = [total + number for total, number in zip(own, written, strict=True)]
            own_name = own_name or name
        elif any(written):
            found.append(OtherRows(name, *written))
    own[1] -= rows_changed
    if any(own):
        found.append(OtherRows(own_name, *own))
    return found


def _shown(value: Any) -> str | None:
    """A value of a JSON object as text, cut where it is long."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
