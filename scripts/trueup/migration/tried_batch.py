"""The batch that a rehearsal tries out, in a transaction that is rolled back.

It runs as in `trueup apply`: it shows which rows the database refuses, what else triggers change,
and how long it takes. Rows are locked only for the duration of one batch.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import psycopg

from trueup.core.connection import Connection
from trueup.core.errors import first_line
from trueup.core.statements import Rows, Statement, column_statement
from trueup.migration import plan
from trueup.migration.session import TIMEOUT_SHARE, classify
from trueup.migration.worker import Piece, array_text, looks_up

EXAMPLES = 3  # rows that the database refuses, shown with their reason
TRIES = 60  # transactions that look for them
MOST_BYTES = 64 * 1024**2  # of the rows of one try: they are read whole
SHOWN = 200  # characters of a value that is shown

QUARANTINED, STOPS, KEPT = "quarantined", "stops the run", "left as it is"


@dataclass(frozen=True)
class Refusal:
    """An error for which `trueup apply` would exit with 1.

    row_key:     the row; None if it concerns several
    consequence: quarantined, stops the run, or left as it is (no error, and no change either)
    """

    row_key: str | None
    sqlstate: str | None
    message: str
    consequence: str


@dataclass(frozen=True)
class OtherColumn:
    """A column that changes with the managed one: set by a trigger, or generated.

    rows: how many of the changed rows; row_key, before, after: of one of them
    """

    column_name: str
    rows: int
    row_key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class OtherRows:
    """Rows of other tables, or other rows of the same one, that triggers have written.

    action: inserted, updated or deleted
    """

    relation: str
    action: str
    rows: int


@dataclass
class Tryout:
    """The batch that was rolled back.

    rows:        planned rows of the tried batch; rows_changed: rows that were changed
    duration_ms: of its transaction, without the commit
    wal_bytes:   of the write-ahead log, in so many records, with so many images of whole pages
    is_complete: every refused row is listed, not only the first ones
    """

    batch_id: int
    rows_planned: int
    rows: int = 0
    rows_changed: int = 0
    duration_ms: float = 0.0
    wal_bytes: int = 0
    wal_records: int = 0
    page_images: int = 0
    is_complete: bool = True
    refusals: list[Refusal] = field(default_factory=list)
    other_columns: list[OtherColumn] = field(default_factory=list)
    other_rows: list[OtherRows] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One column of a plan, and the context of its rehearsal.

    found:   the statements of the project
    facts:   the row of plan__table
    tenants: as the options of a run have them
    """

    connected: Connection
    found: Mapping[str, Statement]
    column: plan.ColumnPlan
    facts: Mapping[str, Any]
    tenants: list[str | None] | None
    by_tenant: bool
    lock_timeout_ms: int

    @property
    def batch(self) -> dict[str, Any]:
        """The batch to try, as rehearsal__batch has it."""
        return self.column.fullest or {}

    def call(self, statement: str, **values: Any) -> Rows:
        """A statement of the project, with those of the values that it takes."""
        found = self.found[statement]
        return found.run(self.connected, **{name: values[name] for name in found.parameters})

    def own(self, purpose: str) -> str:
        """The name of the column's own statement."""
        return column_statement(purpose, self.column.table_name, self.column.column_name)


class Row(NamedTuple):
    """A row in the database; other_columns: JSON of all except the managed one."""

    row_key: str
    row_version: str
    value: str | None
    other_columns: str


class _Done(NamedTuple):
    """A try without an error, which was rolled back.

    log:    WAL Bytes, WAL Records, WAL FPI
    writes: rows that triggers wrote, by table and action
    """

    rows_changed: int
    duration_ms: float
    log: Mapping[str, int]
    rows: dict[str, Row]
    writes: Counter[tuple[str, str]]


def try_out(job: Job) -> Tryout:
    """Run the fullest batch and roll it back."""
    batch = job.batch
    changes = [value for value in job.column.values if value.after is not None]
    whole = Piece(batch["range_start"], batch["range_end"], batch["stripe"], batch["stripes"])
    values = {
        "values_before": array_text([value.before or "" for value in changes]),
        "values_after": array_text([value.after or "" for value in changes]),
        "map_ids": array_text(range(1, len(changes) + 1)),
        "hashed": batch["hashed"],
        "dense": looks_up(batch["dense"], whole),
        "tenants": [batch["fund_id"]] if job.by_tenant else job.tenants,
        "by_tenant": job.by_tenant,
        "fund_id": batch["fund_id"],
        "canonical_values": None,
    }
    return _Trial(job, values).run(whole)


class _Trial:
    """The tries of one batch, and their results so far."""

    def __init__(self, job: Job, values: Mapping[str, Any]) -> None:
        self.job = job
        self.values = values
        self.found = Tryout(job.batch["batch_id"], job.batch["rows_planned"])
        self.writes: Counter[tuple[str, str]] = Counter()

    def run(self, whole: Piece) -> Tryout:
        """From the whole batch to the single rows that are refused, if there are any."""
        found = self.found
        pieces = deque([self._narrow(whole)])
        tries = 0
        while pieces:
            if tries >= TRIES or len(found.refusals) >= EXAMPLES:
                found.is_complete = False
                break
            piece = pieces.popleft()
            before = self._read("rehearsal_rows", **piece._asdict())
            tries += 1
            try:
                done = self._try(piece, before)
            except psycopg.Error as error:
                pieces.extendleft(reversed(self._after_error(piece, error)))
                if found.refusals and found.refusals[-1].consequence == STOPS:
                    break
                continue
            self._note(before, self._without_images(piece, before, done))
        return found

    def _narrow(self, whole: Piece) -> Piece:
        """The part of the batch that may be read at once."""
        rows, size = self.job.facts["estimated_rows"], self.job.facts["bytes"]
        most = max(MOST_BYTES * (rows or 0) // max(size, 1), 1)
        if not rows or self.found.rows_planned <= most:
            return whole
        self.found.notes.append(
            f"only the first {most:,} rows of the batch were tried: rows are wide"
        )
        return self._first(whole, self._keys(whole)[:most])

    def _without_images(self, piece: Piece, before: Mapping[str, Row], done: _Done) -> _Done:
        """The same again if the log got whole pages: it has them now, so only records count."""
        if done.log["WAL FPI"]:
            with suppress(psycopg.Error):  # other sessions hold the rows now
                return self._try(piece, before)._replace(duration_ms=done.duration_ms)
        return done

    def _try(self, piece: Piece, before: Mapping[str, Row]) -> _Done:
        """One transaction, sent as a whole: rows are not locked during round trips."""
        job = self.job
        limit = int(job.facts["deadlock_timeout_ms"] * TIMEOUT_SHARE)
        values = {
            **self.values,
            **piece._asdict(),
            "batch_id": -self.found.batch_id,
            "run_id": uuid.uuid4(),
            "table_name": job.column.table_name,
            "column_name": job.column.column_name,
            "lease_token": uuid.uuid4(),
            "relation": job.facts["qualified"],
        }
        change = job.found[job.own("apply_batch")]
        explained = f"explain (analyze, wal, timing off, format json)\n{change.sql}"
        try:
            with job.connected.pipeline():
                job.call(
                    "begin_batch",
                    lock_timeout=f"{min(job.lock_timeout_ms, limit)}ms",
                    statement_timeout=f"{limit}ms",
                    transaction_timeout=f"{limit * 3}ms",
                )
                job.call("rehearsal__take", **values)
                written_before = job.call("rehearsal__writes", **values)
                changed = change._replace(sql=explained).run(
                    job.connected, **{name: values[name] for name in change.parameters}
                )
                finished = job.call("finish_piece", **values, is_last=True, error_message=None)
                job.connected.execute("set constraints all immediate")
                rows = job.call(job.own("rehearsal_rows_again"), row_keys=list(before))
                written = job.call("rehearsal__writes", **values)
                job.connected.execute("rollback")
        finally:
            if not job.connected.closed:
                job.connected.rollback()
        ((plans,),), ((count, _, _, duration_ms, *_),) = changed.fetchall(), finished.fetchall()
        writes = _counted(written) - _counted(written_before)
        writes[job.facts["qualified"], "updated"] -= count
        found = {row[0]: Row(*row) for row in rows}
        return _Done(count, duration_ms, plans[0]["Plan"], found, +writes)

    def _after_error(self, piece: Piece, error: psycopg.Error) -> list[Piece]:
        """Smaller pieces to try; none if one row is left, or if no row causes the error."""
        found = self.found
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
                found.refusals.append(Refusal(key, error.sqlstate, message, QUARANTINED))
                found.rows += 1
        elif error.sqlstate == "57014":
            keys = self._keys(piece)
            if len(keys) > 1:
                found.notes.append(
                    f"{len(keys):,} rows took longer than a batch is allowed: apply cuts it smaller"
                )
                return [self._first(piece, keys[: len(keys) // 2])]
            found.notes.append(f"even one row takes longer than a batch is allowed: {message}")
        elif kind == "retry":
            found.notes.append(
                f"not tried, other sessions held its rows: {message}; apply waits and tries again"
            )
        else:
            found.refusals.append(Refusal(None, error.sqlstate, message, STOPS))
        return []

    def _note(self, before: Mapping[str, Row], done: _Done) -> None:
        """The result of a try; rows that other sessions changed meanwhile are ignored."""
        found = self.found
        found.rows += done.rows_changed
        found.rows_changed += done.rows_changed
        found.duration_ms += done.duration_ms
        found.wal_bytes += done.log["WAL Bytes"]
        found.wal_records += done.log["WAL Records"]
        found.page_images += done.log["WAL FPI"]
        self.writes += done.writes
        found.other_rows = [OtherRows(*key, rows) for key, rows in sorted(self.writes.items())]
        suspects = [
            key
            for key, row in before.items()
            if key not in done.rows
            or done.rows[key].value == row.value
            or done.rows[key].other_columns != row.other_columns
        ]
        again = self._read("rehearsal_rows_again", row_keys=suspects) if suspects else {}
        kept = []
        for key in suspects:
            old, new = before[key], done.rows.get(key)
            if key not in again or again[key].row_version != old.row_version:
                continue  # an edit of another session
            if new is None or new.value == old.value:
                kept.append(key)
            else:
                self._compare(key, old, new)
        if kept:
            found.rows += len(kept)
            keys = ", ".join(kept[:EXAMPLES])
            message = f"{len(kept):,} rows keep their value, without an error: {keys}"
            found.refusals.append(Refusal(kept[0], None, message, KEPT))

    def _compare(self, key: str, old: Row, new: Row) -> None:
        """Record the other columns that have changed."""
        before, after = (
            json.loads(row.other_columns, parse_float=str, parse_int=str) for row in (old, new)
        )
        known = {each.column_name: each for each in self.found.other_columns}
        for name in after:
            if before.get(name) != after[name]:
                first = OtherColumn(name, 0, key, _shown(before.get(name)), _shown(after[name]))
                seen = known.get(name, first)
                known[name] = replace(seen, rows=seen.rows + 1)
        self.found.other_columns = [known[name] for name in sorted(known)]

    def _keys(self, piece: Piece) -> list[list[str]]:
        """Keys of the rows to change, in order."""
        values = {**self.values, **piece._asdict()}
        found = self.job.call(self.job.own("keys_to_change"), **values).fetchall()
        self.job.connected.rollback()
        return [key for (key,) in found]

    def _first(self, piece: Piece, keys: list[list[str]]) -> Piece:
        return piece._replace(range_end=keys[-1]) if keys else piece

    def _read(self, purpose: str, **values: Any) -> dict[str, Row]:
        """Rows by key, read without a lock."""
        found = self.job.call(self.job.own(purpose), **{**self.values, **values}).fetchall()
        self.job.connected.rollback()
        return {row[0]: Row(*row) for row in found}


def _counted(rows: Rows) -> Counter[tuple[str, str]]:
    """Rows written, by table and action."""
    return Counter({(relation, action): count for action, count, relation in rows})


def _shown(value: Any) -> str | None:
    """A value of a JSON object as text, shortened if it is long."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
