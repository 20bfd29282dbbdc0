"""Apply: the batches of a planned run, one short transaction each.

All that a runner must remember is in the ledger, so it can be killed at any moment. What changes
rows is the statement `apply_batch` of the plan, as it was compiled; this module only decides which
batch is next, how large a piece of it to take, and what an error means.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.adapt import PyFormat, Transformer

from trueup.compiled import Rows, Statement, column_statement
from trueup.errors import TrueupError, first_line

PASSES = 3  # over rows that could not be changed when their batch came by
MAX_STRIPES = 64  # pieces of a range; beyond, a batch is cut by key
RECONNECT_SECONDS = 60.0  # how long a server may be away
RETRIES = 30  # of a statement of the books that others hold up
LOSSES = 5  # of the connection under one piece, before it is cut smaller
HELPS = 0.75  # of the time before: a cut in two by stripes that leaves more than this does not pay
TIMEOUT_SHARE = 0.8  # of deadlock_timeout: we give up before the application becomes a victim

# What the database may say of a transaction, by SQLSTATE or its class (the first two characters).
CONNECTION_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "53300")
RETRY = ("55P03", "57014", "40")  # a lock, a timeout, a deadlock, a serialization failure
BAD_ROW = ("22", "23", "44", "P0")  # a value, a constraint, a check option, a trigger that raises

Key = list[str]
Result = TypeVar("Result")


class Batch(NamedTuple):
    """A batch as it was claimed; ranges are (start, end], keys as texts."""

    batch_id: int
    table_name: str
    column_name: str
    range_start: Key | None
    range_end: Key
    stripe: int
    stripes: int
    hashed: bool
    rows_in_batch: int


class Piece(NamedTuple):
    """What one transaction takes of a batch; the whole of it, as a rule.

    is_row:  it has been cut down to one row
    was_cut: from a piece that did not end in time
    """

    range_start: Key | None
    range_end: Key
    stripe: int
    stripes: int
    is_row: bool = False
    was_cut: bool = False


class State(NamedTuple):
    """A batch after a piece, and what the operator wants of the run."""

    rows_updated: int
    rows_skipped: int
    rows_failed: int
    duration_ms: float
    requested_status: str | None
    target_ms: int
    sleep_ms: int


@dataclass(frozen=True)
class Event:
    """Something people may want to read.

    kind: what happened, a word for machines (batch_completed, ...)
    data: numbers that go with it; camelCase, as the log lines of a run have them
    """

    kind: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stop:
    """What the person at the keyboard wants: to end after this batch, or at once.

    cancel: interrupts the statement that runs, set while there is one
    """

    requested: bool = False
    cancel: Callable[[], None] = lambda: None


class Left(NamedTuple):
    """Rows of one value that are not canonical after the run."""

    table_name: str
    column_name: str
    value: str
    rows: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    status: as in migration_runs
    late:   what was written at or below the frozen bound since planning and is not canonical
    missed: rows that have a planned value and were never changed
    """

    status: str
    totals: dict[str, int]
    late: list[Left]
    missed: list[Left]
    seconds: float
    notes: str = ""


@dataclass(frozen=True)
class Order:
    """What to do: the plan's statements and options.

    statuses: those of a run that may be worked on
    tenants:  None for all, else ids as text, None among them for rows of no tenant
    """

    run_id: uuid.UUID
    statuses: Sequence[str]
    statements: Mapping[str, Statement]
    tenants: list[str | None] | None
    batch_size: int
    max_quarantined: int
    lease_seconds: float
    lock_timeout_ms: int


class LeaseLost(Exception):
    """Somebody else works on the run now; what they see is whole, we only have to leave."""


class _Stopped(Exception):
    """The run ends before its end."""

    def __init__(self, status: str, notes: str) -> None:
        super().__init__(notes)
        self.status = status
        self.notes = notes


def owner() -> str:
    """How a runner is called in the ledger: host and process."""
    return f"{socket.gethostname()} process {os.getpid()}"


def apply(
    connect: Callable[[], psycopg.Connection[Any]],
    order: Order,
    report: Callable[[Event], None],
    stop: Stop,
) -> Outcome:
    """Work on a run until it is done, paused, cancelled, or interrupted; returns how it ended.

    connect: opens a connection that is not in autocommit mode.
    Raises TrueupError where another runner holds the run, and LeaseLost where one took it over.
    Whatever else is raised, in `report` for example, leaves the run interrupted.
    """
    runner = Runner(connect, order, report, stop)
    started = time.monotonic()
    try:
        runner.take_lease()
        status, notes, late, missed = _through(runner, report)
        totals = runner.totals()
        runner.end(status, notes)
    except BaseException as error:
        runner.leave(error)
        raise
    return Outcome(status, totals, late, missed, time.monotonic() - started, notes)


def _through(
    runner: Runner, report: Callable[[Event], None]
) -> tuple[str, str, list[Left], list[Left]]:
    """From the first batch to the last look: status, notes, late and missed values."""
    late: list[Left] = []
    dirty: list[Left] = []
    missed: list[Left] = []
    notes = ""
    try:
        runner.begin()
        for attempt in range(1, PASSES + 1):
            runner.work()
            late, dirty, reopened = runner.look_back(may_reopen=attempt < PASSES)
            if not reopened:
                break
            report(Event("second_look", f"Looking again at {reopened} batches..."))
        again, missed = runner.tell_apart(dirty)
        late += again
        status = runner.verdict(missed)
    except _Stopped as stopped:
        status, notes = stopped.status, stopped.notes
    except psycopg.Error as error:
        status, notes = "failed", first_line(error)
        report(Event("run_failed", f"The run stops: {notes}", "error"))
    return status, notes, late, missed


class Runner:
    """One connection, one lease token, and the walk over the batches."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        order: Order,
        report: Callable[[Event], None],
        stop: Stop,
    ) -> None:
        self.connect = connect
        self.order = order
        self.report = report
        self.stop = stop
        self.token = uuid.uuid4()
        self.connection = self._connect()
        self.holds_lease = False
        self.renewed = time.monotonic()
        self.pieces = 1  # of a batch; doubled where batches take too long
        self.begun = 1  # pieces of this batch when it began
        self.by_key = False  # cut by key: stripes of a range did not make its pieces shorter
        self.took: dict[int, float] = {}  # seconds of the slowest piece, by number of pieces
        self.done = 0
        self.total = 0
        self.quarantined = 0
        self.losses = 0  # of the connection since a piece was last done
        self.values: dict[tuple[str, str], dict[str, str]] = {}
        self.lock_timeout, self.statement_timeout = self._timeouts()

    # ------------------------------------------------------------------------------ the lease

    def take_lease(self) -> None:
        """Raises TrueupError that says who holds the run."""
        leave_to_others(self.rows("other_runners", run_id=self.order.run_id))

        def take() -> list[tuple[Any, ...]]:
            self._run("lock_columns", run_id=self.order.run_id)
            return self._run(
                "take_lease",
                **self._hold(),
                lease_owner=owner(),
                lease_seconds=self.order.lease_seconds,
                statuses=list(self.order.statuses),
            ).fetchall()

        if not self._again(take):
            leave_to_others(self.rows("other_runners", run_id=self.order.run_id))
            raise TrueupError(
                f"run {str(self.order.run_id)[:8]} cannot be taken: another runner has just had"
                " it, it has ended, or it is to be cancelled",
                "`trueup runs` shows how it is; `trueup cancel` closes what is to be cancelled.",
            )
        self.holds_lease = True
        self.renewed = time.monotonic()

    def renew(self) -> None:
        """Be heard of, now and then; raises LeaseLost."""
        if time.monotonic() - self.renewed > self.order.lease_seconds / 3:
            if not self.rows("renew_lease", **self._hold(), lease_seconds=self.order.lease_seconds):
                raise LeaseLost
            self.renewed = time.monotonic()

    @contextmanager
    def _heard_of(self) -> Iterator[None]:
        """During a statement that may take longer than the lease lasts: renewed from the side.

        A lease of an hour would do, too, and would have to be waited for after a kill.
        """
        self.renew()
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(max(self.order.lease_seconds / 3, 0.1)):
                # it is lost, then: the runner is told when it comes back
                with suppress(psycopg.Error, TrueupError), self.connect() as connection:
                    self.order.statements["renew_lease"].run(
                        connection, **self._hold(), lease_seconds=self.order.lease_seconds
                    )

        threading.Thread(target=keep, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()
        self.renew()

    # --------------------------------------------------------------------------- the whole run

    def begin(self) -> None:
        self._set_status("running", finished=False)
        self.rows("reopen_failed", run_id=self.order.run_id, lease_token=self.token)
        totals = self.totals()
        self.total = totals["total_batches"]
        self.done = totals["completed_batches"] + totals["cancelled_batches"]
        self.quarantined = totals["rows_failed"]

    def end(self, status: str, notes: str) -> None:
        """Give the run back; a lost connection changes nothing about what was done."""
        try:
            self.renew()
            self.holds_lease = False  # the answer to its release may be lost
            finished = status not in ("paused", "interrupted", "failed")
            self._set_status(status, finished, f"{status}: {notes}" if notes else None)
            if status == "cancelled":
                self.rows("close_batches", run_id=self.order.run_id)
            self.rows("release", **self._hold(), status=status)
        finally:
            self.close()

    def leave(self, error: BaseException) -> None:
        """The end by an error that is none of the run's: it may be gone on with at once."""
        try:
            if self.holds_lease and not isinstance(error, LeaseLost) and not self.connection.closed:
                with suppress(Exception):  # the lease ends by itself
                    self.connection.rollback()
                    self.end("interrupted", f"by an error: {error or type(error).__name__}")
        finally:
            self.close()

    def close(self) -> None:
        self.connection.close()

    def totals(self) -> dict[str, int]:
        """Counts of batches and rows of the run so far, as `batch_totals` names them."""
        return self._again(lambda: counts(self._run("batch_totals", run_id=self.order.run_id)))

    def work(self) -> None:
        """All open batches, range by range."""
        while batches := self._claim():
            for batch in sorted(batches, key=lambda each: each.stripe):
                self.batch(batch)
            last = batches[-1]
            self.rows(
                "note_progress",
                run_id=self.order.run_id,
                lease_token=self.token,
                table_name=last.table_name,
                column_name=last.column_name,
                last_id=",".join(last.range_end),
            )

    def look_back(self, may_reopen: bool) -> tuple[list[Left], list[Left], int]:
        """What is not canonical at or below the bound, but for what the plan listed as left alone.

        Returns values that the plan did not know, values that it promised to change, and how many
        batches are open again for the second.
        """
        late: list[Left] = []
        dirty: list[Left] = []
        reopened = 0
        if may_reopen:
            reopened += len(self.rows("reopen_failed", **self._hold()))
        for table, column, bound in self.rows("run_columns", run_id=self.order.run_id):
            place = self._place(bound)
            found = self.scan("remaining_values", (table, column), **place)
            for value, rows, is_planned in found:
                (dirty if is_planned else late).append(Left(table, column, value, rows))
            planned = [value for value, _, is_planned in found if is_planned]
            if planned and may_reopen:
                with self._heard_of():  # by the index of the key: not with what scans need
                    again = self.rows(
                        column_statement("reopen_batches", table, column),
                        **place,
                        values_before=planned,
                        lease_token=self.token,
                    )
                reopened += len(again)
        self.done -= reopened
        return late, dirty, reopened

    def tell_apart(self, dirty: list[Left]) -> tuple[list[Left], list[Left]]:
        """(written again since, never changed by this run): only the second breaks the promise."""
        again: list[Left] = []
        missed: list[Left] = []
        for table, column, bound in self.rows("run_columns", run_id=self.order.run_id):
            values = [left.value for left in dirty if left[:2] == (table, column)]
            if values:
                place = self._place(bound)
                found = self.scan("missed_rows", (table, column), **place, values_before=values)
                for value, rows, never_changed, _ in found:
                    again.append(Left(table, column, value, rows - never_changed))
                    missed.append(Left(table, column, value, never_changed))
        return [left for left in again if left.rows], [left for left in missed if left.rows]

    def verdict(self, missed: list[Left]) -> str:
        """completed: every promised row was changed."""
        totals = self.totals()
        whole = totals["completed_batches"] == totals["total_batches"]
        whole = whole and not missed and not totals["rows_failed"]
        return "completed" if whole else "completed_with_failures"

    # ------------------------------------------------------------------------------- one batch

    def batch(self, batch: Batch) -> None:
        """Change the rows of a batch, in one transaction or, where that fails, in several."""
        self.done += 1
        self.report(Event("batch_started", f"Processing batch {self.done}/{self.total}..."))
        self.begun = self.pieces
        pieces = deque(self._pieces(batch))
        slowest = 0.0
        held: list[Key] = []
        state: State | None = None
        finished = False
        while pieces:
            self.renew()
            piece = pieces.popleft()
            started = time.monotonic()
            last = not pieces and not held
            try:
                done = self._piece(batch, piece, is_last=last)
            except psycopg.Error as error:
                if self._deal_with(error, batch, piece, pieces, held):
                    finished = True
                    break
                continue
            if done is None:
                # a transaction whose answer was lost was still under way when we asked for it
                if not self._is_finished(batch):
                    raise LeaseLost
                finished = True
                break
            state = done
            self.losses = 0
            finished = last
            slowest = max(slowest, time.monotonic() - started)
        if not finished:
            state = self._finish(batch, held)
        if state is not None:
            if slowest and self.pieces == self.begun:
                self._adapt(slowest, state.target_ms)
            self._report_batch(state, held)
            if state.requested_status in ("paused", "cancelled"):
                raise _Stopped(state.requested_status, "on request")
            self._pause(batch, state.sleep_ms)
        if self.stop.requested:
            raise _Stopped("interrupted", "by the person at the keyboard")

    def _deal_with(
        self,
        error: psycopg.Error,
        batch: Batch,
        piece: Piece,
        pieces: deque[Piece],
        held: list[Key],
    ) -> bool:
        """A piece that failed: smaller ones, a row put aside, or the end of the run.

        Returns whether the batch was finished after all, by a transaction whose answer was lost.
        """
        kind = self._kind(error)
        if kind == "lost":
            self._reconnect(error)
            if self._is_finished(batch):
                return True
            self.losses += 1
            if self.losses % LOSSES:
                pieces.appendleft(piece)
                return False
            kind = "retry"  # it may be the piece that the connection does not survive
        if kind == "stop":
            self._fail(batch, error)
            raise error
        is_late = error.sqlstate == "57014"
        is_scan = is_late and piece.was_cut  # half the rows of a range take as long as all
        if kind == "retry":
            self._interrupted(error)
            self.by_key |= is_scan
            self.pieces = min(self.begun * 2, MAX_STRIPES)
            time.sleep(random.uniform(0, self.lock_timeout / 1000))
        smaller = [
            each._replace(was_cut=is_late)
            for each in self._cut(batch, piece, by_key=is_scan or kind == "bad row")
        ]
        if len(smaller) > 1:
            pieces.extendleft(reversed(smaller))
        elif smaller and not piece.is_row:
            pieces.appendleft(smaller[0])  # alone: another row may have been the bad one
        elif smaller and kind == "bad row":
            self._quarantine(batch, smaller[0], error)
        elif smaller:
            held.append(smaller[0].range_end)
        return False

    def _piece(self, batch: Batch, piece: Piece, is_last: bool) -> State | None:
        """One transaction, in one round trip; None where the batch is not ours, or not open."""
        values = self._values(batch)
        name = column_statement("apply_batch", batch.table_name, batch.column_name)
        with self.connection.pipeline():
            self._begin()
            changed = self._run(
                name,
                batch_id=batch.batch_id,
                lease_token=self.token,
                hashed=batch.hashed,
                tenants=self.order.tenants,
                **piece._asdict(),
                **values,
            )
            finished = self._run(
                "finish_piece",
                batch_id=batch.batch_id,
                lease_token=self.token,
                is_last=is_last,
                error_message=None,
            )
            self.connection.commit()
        row = finished.fetchone()
        return None if row is None or changed.fetchone() is None else State(*row)

    def _finish(self, batch: Batch, held: list[Key]) -> State | None:
        """Close a batch whose last piece did not: it is done, or rows of it were held by others."""
        message = (
            f"{len(held)} rows were locked by other sessions: "
            + ", ".join(",".join(key) for key in held[:5])
            if held
            else None
        )
        rows = self.rows("finish_piece", batch_id=batch.batch_id, lease_token=self.token,
                         is_last=True, error_message=message)  # fmt: skip
        if rows:
            return State(*rows[0])
        if self._is_finished(batch):  # by a first try whose answer was lost
            return None
        raise LeaseLost

    def _cut(self, batch: Batch, piece: Piece, by_key: bool) -> list[Piece]:
        """Two smaller pieces, or one of a single row, or none where nothing is left to change."""
        if not by_key and piece.stripes < MAX_STRIPES:
            return list(halves(piece, 2))
        return self._by_key(batch, piece, 2)

    def _pieces(self, batch: Batch) -> list[Piece]:
        """What a batch is begun with."""
        if self.by_key and self.pieces > 1:
            return self._by_key(batch, _whole(batch), self.pieces)
        return list(halves(_whole(batch), self.pieces))

    def _by_key(self, batch: Batch, piece: Piece, count: int) -> list[Piece]:
        """Pieces of about as many rows to change; one of a single row, or none, see `_cut`."""
        keys = [
            key
            for (key,) in self.rows(
                column_statement("keys_to_change", batch.table_name, batch.column_name),
                hashed=batch.hashed,
                tenants=self.order.tenants,
                values_before=self._values(batch)["values_before"],
                **piece._asdict(),
            )
        ]
        if len(keys) < 2:
            return [piece._replace(range_end=key, is_row=True) for key in keys]
        count = min(count, len(keys))
        inner = [keys[len(keys) * number // count - 1] for number in range(1, count)]
        ends = [piece.range_start, *inner, piece.range_end]
        return [
            piece._replace(range_start=start, range_end=end, is_row=False)
            for start, end in pairwise(ends)
            if end is not None
        ]

    def _quarantine(self, batch: Batch, piece: Piece, error: psycopg.Error) -> None:
        self.rows(
            column_statement("quarantine", batch.table_name, batch.column_name),
            batch_id=batch.batch_id,
            lease_token=self.token,
            range_end=piece.range_end,
            sqlstate=error.sqlstate,
            error_message=first_line(error),
        )
        self.quarantined = self.totals()["rows_failed"]
        self.report(
            Event(
                "quarantined",
                f"Row {','.join(piece.range_end)} of {batch.table_name} cannot be changed: "
                f"{first_line(error)}",
                "error",
            )
        )
        if self.quarantined > self.order.max_quarantined:
            raise _Stopped(
                "failed", f"more than {self.order.max_quarantined} rows cannot be changed"
            )

    def _fail(self, batch: Batch, error: psycopg.Error) -> None:
        self.rows("finish_piece", batch_id=batch.batch_id, lease_token=self.token, is_last=True,
                  error_message=first_line(error))  # fmt: skip
        self.report(
            Event("batch_failed", f"Batch {self.done} failed: {first_line(error)}", "error")
        )

    def _report_batch(self, state: State, held: list[Key]) -> None:
        data = {
            "rowsUpdated": state.rows_updated,
            "rowsSkipped": state.rows_skipped,
            "rowsFailed": state.rows_failed,
            "durationMs": round(state.duration_ms),
        }
        if held:
            message = f"Batch {self.done} failed: {len(held)} rows were locked by other sessions"
            self.report(Event("batch_failed", message, "error", data))
        else:
            self.report(Event("batch_completed", f"Batch {self.done} completed", data=data))

    # ------------------------------------------------------------------------- pace and control

    def _adapt(self, seconds: float, target_ms: int) -> None:
        """More and smaller pieces where they take twice the wanted time, fewer at half of it.

        seconds: of the slowest piece of a batch. Each stripe reads its whole range: where that is
        what takes the time, more of them make it longer, and pieces are cut by key.
        """
        if seconds * 1000 > 2 * target_ms:
            before = self.took.get(self.pieces // 2)
            if before is not None and not self.by_key and seconds > HELPS * before:
                self.by_key = True
            else:
                self.took[self.pieces] = seconds
                self.pieces = min(self.pieces * 2, MAX_STRIPES)
        elif seconds * 1000 < target_ms / 2 and self.pieces > 1:
            self.pieces //= 2
            self.by_key = self.by_key and self.pieces > 1

    def _pause(self, batch: Batch, sleep_ms: int) -> None:
        """Sleep in proportion to the rows that were looked at, where a batch follows."""
        if self.done >= self.total:
            return
        share = min(batch.rows_in_batch / self.order.batch_size, 1)
        until = time.monotonic() + sleep_ms / 1000 * share
        if sleep_ms and not self.stop.requested:
            self.report(Event("sleeping", f"Sleeping {sleep_ms}ms before next batch..."))
        while (left := until - time.monotonic()) > 0 and not self.stop.requested:
            time.sleep(min(left, 0.2))
            self.renew()

    # --------------------------------------------------------------------------- the connection

    def rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """A statement in a transaction of its own, tried again where the connection is lost.

        Only statements that may run twice are called here.
        """

        def read() -> list[tuple[Any, ...]]:
            found = self._run(statement, **values)
            return found.fetchall() if found.description else []

        return self._again(read)

    def scan(self, purpose: str, place: tuple[str, str], **values: object) -> list[tuple[Any, ...]]:
        """A column's own statement that joins the ledger with a whole table; may run twice."""

        def read() -> list[tuple[Any, ...]]:
            self._run("begin_reading")
            return self._run(column_statement(purpose, *place), **values).fetchall()

        with self._heard_of():
            return self._again(read)

    def _again(self, work: Callable[[], Result]) -> Result:
        """Do it in one transaction, as often as it takes."""
        tries = 0
        while True:
            try:
                result = work()
                self.connection.commit()
                return result
            except psycopg.Error as error:
                kind = self._kind(error)
                tries += kind == "retry"
                if kind == "lost":
                    self._reconnect(error)
                elif kind == "retry" and tries <= RETRIES:
                    self._interrupted(error)
                    time.sleep(random.uniform(0, self.order.lock_timeout_ms / 1000))
                else:
                    raise

    def _run(self, statement: str, **values: object) -> Rows:
        found = self.order.statements[statement]
        return found.run(self.connection, **{name: values[name] for name in found.parameters})

    def _begin(self) -> None:
        self._run(
            "begin_batch",
            lock_timeout=f"{self.lock_timeout}ms",
            statement_timeout=f"{self.statement_timeout}ms",
            transaction_timeout=f"{self.statement_timeout * 2}ms",
        )

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self.connect()
        self.stop.cancel = connection.cancel_safe
        return connection

    def _timeouts(self) -> tuple[int, int]:
        """Milliseconds for locks and statements, below the server's deadlock_timeout."""
        query = "select extract(epoch from cast(current_setting('deadlock_timeout') as interval))"
        row = self._again(lambda: self.connection.execute(query).fetchone())
        limit = int(float(row[0] if row else 1) * 1000 * TIMEOUT_SHARE)
        return min(self.order.lock_timeout_ms, limit), limit

    def _kind(self, error: psycopg.Error) -> str:
        """What an error means, after the transaction has been rolled back.

        A trigger may raise what a lost connection says; lost is one that answers no more.
        """
        kind = classify(error)
        try:
            self.connection.rollback()
            if kind == "lost":
                self.connection.execute("select")
                self.connection.rollback()
        except psycopg.Error:
            self.connection.close()
        if self.connection.closed:
            return "lost"
        return "stop" if kind == "lost" else kind

    def _reconnect(self, error: psycopg.Error) -> None:
        """Come back within a minute or give up; a lost connection is never the end of a table."""
        self.report(Event("reconnecting", f"Connection lost: {first_line(error)}", "warn"))
        self.connection.close()
        until = time.monotonic() + RECONNECT_SECONDS
        pause = 0.05
        while True:
            try:
                self.connection = self._connect()
                break
            except TrueupError:
                if time.monotonic() > until or self.stop.requested:
                    raise
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, 5)
        if self.holds_lease:
            self.renewed = float("-inf")  # renew at once: it may be somebody else's by now
            self.renew()

    def _is_finished(self, batch: Batch) -> bool:
        """Did the transaction whose answer was lost end the batch?"""
        for status, is_ours in self.rows(
            "batch_state", batch_id=batch.batch_id, lease_token=self.token
        ):
            return status in ("completed", "failed") and bool(is_ours)
        return False

    def _interrupted(self, error: psycopg.Error) -> None:
        """A statement that the person at the keyboard cancelled is not tried again."""
        if error.sqlstate == "57014" and self.stop.requested:
            raise _Stopped("interrupted", "by the person at the keyboard, in the middle of a batch")

    def _claim(self) -> list[Batch]:
        self.renew()
        return [
            Batch(*row)
            for row in self.rows(
                "claim_range",
                run_id=self.order.run_id,
                lease_token=self.token,
                lease_seconds=self.order.lease_seconds,
            )
        ]

    def _values(self, batch: Batch) -> dict[str, str]:
        """The planned changes of the batch's column, as apply_batch takes them."""
        place = (batch.table_name, batch.column_name)
        if place not in self.values:
            rows = self.rows(
                "value_map",
                run_id=self.order.run_id,
                table_name=batch.table_name,
                column_name=batch.column_name,
            )
            before, after, map_ids = zip(*rows, strict=True)
            self.values = {
                place: {
                    "values_before": array_text(before),
                    "values_after": array_text(after),
                    "map_ids": array_text(map_ids),
                }
            }
        return self.values[place]

    def _hold(self) -> dict[str, Any]:
        return {"run_id": self.order.run_id, "lease_token": self.token}

    def _place(self, bound: Key) -> dict[str, Any]:
        return {
            "run_id": self.order.run_id,
            "tenants": self.order.tenants,
            "range_end": bound,
        }

    def _set_status(self, status: str, finished: bool, notes: str | None = None) -> None:
        """Only the runner that holds the run speaks for it; raises LeaseLost."""
        if not self.rows(
            "set_run_status",
            **self._hold(),
            status=status,
            finished=finished,
            statuses=[*self.order.statuses, status],  # or an answer was lost
            notes=notes,
        ):
            raise LeaseLost


def leave_to_others(found: Iterable[tuple[Any, ...]]) -> None:
    """TrueupError that says who holds the run; found: what `other_runners` returned."""
    for run_id, table, column, holder, until in found:
        raise TrueupError(
            f"run {str(run_id)[:8]} on {table}.{column} is held by {holder}"
            f" until {until:%H:%M:%S}, unless that runner is heard of before",
            "Wait for it or `trueup pause` it. The lease of a runner that died ends by itself.",
        )


def classify(error: psycopg.Error) -> str:
    """What an error means for a batch: lost, retry, bad row, or stop."""
    state = error.sqlstate
    if state is None:
        return "lost" if isinstance(error, psycopg.OperationalError) else "stop"
    for kind, states in (("lost", CONNECTION_LOST), ("retry", RETRY), ("bad row", BAD_ROW)):
        if state.startswith(states):
            return kind
    return "stop"


def array_text(values: Sequence[str | int]) -> str:
    """An array as PostgreSQL writes it: made once, not for every batch (11 ms for 3,400 values)."""
    items = list(values)
    dumped = Transformer().get_dumper(items, PyFormat.TEXT).dump(items)
    return bytes(dumped or b"").decode()


def halves(piece: Piece, count: int) -> Iterator[Piece]:
    """A piece cut into `count` stripes, a power of two: stripe k of S is k and k + S of 2 S."""
    for number in range(count):
        yield piece._replace(
            stripe=piece.stripe + number * piece.stripes, stripes=piece.stripes * count
        )


def _whole(batch: Batch) -> Piece:
    return Piece(batch.range_start, batch.range_end, batch.stripe, batch.stripes)


def counts(found: Rows) -> dict[str, int]:
    """The one row of a statement that counts, by the names of its columns."""
    names = [column.name for column in found.description or []]
    return {name: int(value) for name, value in zip(names, found.fetchone() or (), strict=True)}
