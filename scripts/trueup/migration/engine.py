"""Apply: the batches of a planned run, one short transaction each.

The ledger holds everything that a runner must remember, so it can be killed at any moment. The
plan's compiled statement changes the rows. This module holds the lease, starts the workers, and
counts what is left when they are done.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from trueup.core.errors import TrueupError, first_line
from trueup.migration.session import Event, Order, Stop, Stopped, begin_scan
from trueup.migration.worker import LeaseLost, Shared, Worker, counts

__all__ = ["Event", "LeaseLost", "Left", "Order", "Outcome", "Runner", "Stop", "apply", "counts",
           "owner", "raise_if_held"]  # fmt: skip

PASSES = 3  # over rows that their batch could not change


class Left(NamedTuple):
    """Rows of one value that the run has left, although it should not have."""

    table_name: str
    column_name: str
    value: str
    rows: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    status, record: as in migration_runs
    late:   what was written at or below the frozen bound since planning and is not canonical
    missed: rows that have a planned value and were never changed
    audit_digest: SHA-256 of the whole audit, as hexadecimal digits; None if the run is not over
    """

    status: str
    totals: dict[str, int]
    late: list[Left]
    missed: list[Left]
    seconds: float
    record: Mapping[str, Any]
    notes: str = ""
    audit_digest: str | None = None


def owner() -> str:
    """The name of this runner in the ledger: host and process."""
    return f"{socket.gethostname()} process {os.getpid()}"


def apply(
    connect: Callable[[], psycopg.Connection[Any]],
    order: Order,
    report: Callable[[Event], None],
    stop: Stop,
) -> Outcome:
    """Work on a run until it is done, paused, cancelled, or interrupted; returns how it ended.

    connect: opens a connection that is not in autocommit mode.
    Raises TrueupError if another runner holds the run, and LeaseLost if one took it over.
    Any other exception, for example one raised by `report`, leaves the run interrupted.
    """
    runner = Runner(connect, order, report, stop)
    started = time.monotonic()
    try:
        runner.take_lease()
        status, notes, late, missed = _run_passes(runner)
        totals = runner.totals()
        status, notes, digest = runner.end(status, notes)
    except BaseException as error:
        runner.leave(error)
        raise
    seconds = time.monotonic() - started
    return Outcome(status, totals, late, missed, seconds, order.record, notes, digest)


def _run_passes(runner: Runner) -> tuple[str, str, list[Left], list[Left]]:
    """All passes over the batches; returns status, notes, late and missed values."""
    late: list[Left] = []
    dirty: list[Left] = []
    missed: list[Left] = []
    notes = ""
    try:
        runner.begin()
        for attempt in range(1, PASSES + 1):
            runner.work()
            late, dirty, reopened = runner.count_remaining(may_reopen=attempt < PASSES)
            if not reopened:
                break
            runner.report(Event("second_look", f"Looking again at {reopened} batches..."))
        again, missed = runner.split_late_and_missed(dirty)
        late += again
        status = runner.verdict(missed)
    except Stopped as stopped:
        status, notes = stopped.status, stopped.notes
    except psycopg.Error as error:
        status, notes = "failed", first_line(error)
        runner.report(Event("run_failed", f"The run stops: {notes}", "error"))
    return status, notes, late, missed


class Runner:
    """One lease on a run, and the workers that change its batches; worker 0 runs in this thread."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        order: Order,
        report: Callable[[Event], None],
        stop: Stop,
    ) -> None:
        self.connect = connect
        self.order = order
        self.stop = stop
        self.shared = Shared(order, uuid.uuid4())
        self._report = report
        self.worker = self._hire(0)
        self.session = self.worker.session
        self.rows = self.session.rows
        self.totals = self.worker.totals
        self.holds_lease = False

    def report(self, event: Event) -> None:
        """Pass an event on to the caller; one thread at a time."""
        with self.shared.lock:
            self._report(event)

    # ------------------------------------------------------------------------------ the lease

    def take_lease(self) -> None:
        """Take the lease on the run; raises TrueupError that names its holder."""
        raise_if_held(self.rows("run__other_runners", run_id=self.order.run_id))

        statuses = list(self.order.statuses)
        if not self.rows("run__lock_columns", "run__take_lease", **self.shared.hold,
                         lease_owner=owner(), statuses=statuses):  # fmt: skip
            raise_if_held(self.rows("run__other_runners", run_id=self.order.run_id))
            raise TrueupError(
                f"run {str(self.order.run_id)[:8]} cannot start: another runner just released it,"
                " it has ended, or a cancel was requested",
                "`trueup runs` shows its status; `trueup cancel` closes it if a cancel was"
                " requested.",
            )
        self.holds_lease = True
        self.shared.renewed = time.monotonic()

    # --------------------------------------------------------------------------- the whole run

    def begin(self) -> None:
        """Mark the run as running and reopen the batches that failed before."""
        self._set_status("running", finished=False)
        self.rows("run__reopen_failed", **self.shared.hold)
        self._measure("before")
        for _, workers in self.rows("run__control_state", run_id=self.order.run_id):
            self.shared.wanted = workers

    def end(self, status: str, notes: str) -> tuple[str, str, str | None]:
        """Store how the run ended and release its lease.

        Returns status, notes, and the digest of the audit if the run is over. Interrupting the read
        of the audit interrupts the run; resuming it then only reads the audit again.
        """
        digest = None
        try:
            self.worker.renew()
            self._measure("after")
            finished = status not in ("paused", "interrupted", "failed")
            try:
                with self.worker.lease_kept_alive() if finished else nullcontext():
                    digest = self._set_status(status, finished, notes)
            except Stopped as stopped:
                status, notes = stopped.status, stopped.notes
                self._set_status(status, False, notes)
            self.holds_lease = False  # even if the answer to the release is lost
            self.rows("run__release", **self.shared.hold, status=status)
        finally:
            self.session.close()
        return status, notes, digest

    def leave(self, error: BaseException) -> None:
        """End the run after an error from outside it, so that it can be resumed at once."""
        connection = self.session.connection
        try:
            if self.holds_lease and not isinstance(error, LeaseLost) and not connection.closed:
                with suppress(Exception):  # otherwise the lease expires
                    connection.rollback()
                    self.end("interrupted", f"by an error: {error or type(error).__name__}")
        finally:
            connection.close()

    def work(self) -> None:
        """Work on all open batches with the wanted number of workers.

        An error that a worker cannot handle stops all workers after their current batch.
        """
        self.shared.listed.clear()  # what was listed in an earlier pass
        totals = self.totals()
        self.shared.total = totals["total_batches"]
        self.shared.done = totals["completed_batches"] + totals["cancelled_batches"]
        crew: dict[int, threading.Thread] = {}
        errors: list[BaseException] = []
        served: set[int] = set()  # workers that found no open range

        def join_in(number: int) -> None:
            try:
                worker = self._hire(number)
                try:
                    worker.work()
                finally:
                    worker.session.close()
            except BaseException as error:
                errors.append(error)
                self.shared.halt.set()
            if number < self.shared.wanted:
                served.add(number)

        def staff() -> None:
            for number in range(1, self.shared.wanted):
                if number not in served and (number not in crew or not crew[number].is_alive()):
                    crew[number] = threading.Thread(
                        target=join_in, args=(number,), name=f"worker {number}"
                    )
                    crew[number].start()

        try:
            self.worker.work(before_range=staff)
        except BaseException as error:
            errors.insert(0, error)
            self.shared.halt.set()
        finally:
            for thread in crew.values():
                thread.join()
        self.shared.halt.clear()
        if errors:
            raise errors[0]

    def count_remaining(self, may_reopen: bool) -> tuple[list[Left], list[Left], int]:
        """Count the rows at or below the bound that are not canonical, without those the plan left.

        Returns the values that the plan did not know, the values that it promised to change, and
        how many batches were reopened for the latter. A kind of run that counts no values reopens
        its batches by itself.
        """
        late: list[Left] = []
        dirty: list[Left] = []
        reopened = 0
        if may_reopen:
            reopened += len(self.rows("run__reopen_failed", **self.shared.hold))
        for place, scope in self._places():
            planned = []
            for value, rows, is_planned in self.scan("remaining", place, **scope):
                (dirty if is_planned else late).append(Left(*place, value, rows))
                planned += [value] if is_planned else []
            if may_reopen and (planned or not self.order.named("remaining")):
                # one that uses the index of the key does without the planner settings of a join
                joins = not self.order.rules["reopens_by_key"]
                again = self.scan("reopen", place, joins, **scope, values_before=planned)
                reopened += len(again)
        return late, dirty, reopened

    def split_late_and_missed(self, dirty: list[Left]) -> tuple[list[Left], list[Left]]:
        """Split dirty rows into (written after our change, never changed by this run).

        Only the second breaks the plan's promise. What others have changed since is stored as
        conflicts, if the kind of run has any.
        """
        again: list[Left] = []
        missed: list[Left] = []
        for place, scope in self._places():
            values = [left.value for left in dirty if left[:2] == place]
            if values or not self.order.named("remaining"):
                self.scan("conflicts", place, **scope)
                for row in self.scan("missed", place, **scope, values_before=values):
                    value, rows, never_changed, *_ = row
                    again.append(Left(*place, value, rows - never_changed))
                    missed.append(Left(*place, value, never_changed))
        return [left for left in again if left.rows], [left for left in missed if left.rows]

    def verdict(self, missed: list[Left]) -> str:
        """The status of a run at its end: completed if every planned row was changed."""
        totals = self.totals()
        whole = totals["completed_batches"] == totals["total_batches"]
        whole = whole and not missed and not totals["rows_failed"]
        return "completed" if whole else "completed_with_failures"

    def scan(
        self, purpose: str, place: tuple[str, str], joins: bool = True, **values: object
    ) -> list[tuple[Any, ...]]:
        """Run the statements of one column that read a whole table; they may run twice.

        joins: they join the table with the ledger
        """
        found: list[tuple[Any, ...]] = []
        for name in self.order.named(purpose, place):

            def read(name: str = name) -> list[tuple[Any, ...]]:
                begins = [*["run__begin_reading"] * joins, *self.order.named("begin")]
                begin_scan(self.order.statements, self.session.connection, begins)
                return self.session.run(name, **values).fetchall()

            with self.worker.lease_kept_alive():
                found += self.session.again(read)
        return found

    def _hire(self, number: int) -> Worker:
        worker = Worker(self.connect, self.shared, self.report, self.stop, number)
        worker.session.on_reconnect = lambda: self._renew_after_reconnect(worker)
        return worker

    def _renew_after_reconnect(self, worker: Worker) -> None:
        """After a lost connection another runner may hold the lease; raises LeaseLost then.

        Waits for the transactions whose answer was lost, so that they are seen from here on.
        """
        if self.holds_lease:
            worker.session.rows("run__await_batches", **self.shared.hold)
            worker.renew(at_once=True)

    def _measure(self, when: str) -> None:
        """Store the server's counters, from which the report tells what the run cost."""
        self.rows("run__flush_statistics")
        self.rows("run__note_counters", **self.shared.hold, moment=when)

    def _places(self) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """Table and column of all that the run is about, with the parameters of their scans."""
        for table, column, bound in self.rows("run__columns", run_id=self.order.run_id):
            yield (
                (table, column),
                {
                    **self.shared.hold,
                    "tenants": self.order.tenants,
                    "by_tenant": self.order.by_tenant,
                    "range_end": bound,
                },
            )

    def _set_status(self, status: str, finished: bool, notes: str = "") -> str | None:
        """Store the status, if this runner holds the lease; raises LeaseLost otherwise.

        Returns the digest of the audit if the run is over.
        """

        def write() -> tuple[bool, str | None]:
            found = self.session.run(
                "run__set_status",
                **self.shared.hold,
                status=status,
                finished=finished,
                statuses=[*self.order.statuses, status],  # the same again if an answer was lost
                notes=f"{status}: {notes}" if notes else None,
            ).fetchall()
            if found and status == "cancelled":  # in one transaction with the status
                self.session.run("run__close_batches", run_id=self.order.run_id)
            digest = None
            # after the status: set_run_status waits for transactions that a dead runner left open
            if found and finished:
                begin_scan(self.order.statements, self.session.connection)
                for name in self.order.named("digest"):
                    row = self.session.run(name, run_id=self.order.run_id).fetchone()
                    digest = row[0] if row else None
            return bool(found), digest

        is_ours, digest = self.session.again(write)
        if not is_ours:
            raise LeaseLost
        return digest


def raise_if_held(found: Iterable[tuple[Any, ...]]) -> None:
    """TrueupError that says who holds the run; found: what `other_runners` returned."""
    for run_id, table, column, holder, until in found:
        raise TrueupError(
            f"run {str(run_id)[:8]} on {table}.{column} is held by {holder}"
            f" until {until:%H:%M:%S}, or longer if that runner is alive",
            "Wait for it or `trueup pause` it. The lease of a dead runner expires by itself.",
        )
