"""A connection of a runner: statements in short transactions, and handling of errors.

A lost connection is opened again. After a lock or a timeout the statement is tried again.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from trueup.core import runs
from trueup.core.errors import TrueupError, first_line
from trueup.core.statements import Rows, Statement

RECONNECT_SECONDS = 60.0  # for how long a server may be unreachable
RETRIES = 30  # of a statement on the ledger that waits for other sessions
TIMEOUT_SHARE = 0.8  # of deadlock_timeout

# Errors by SQLSTATE or its class (the first two characters).
CONNECTION_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "53300")
RETRY = ("55P03", "57014", "40")  # a lock, a timeout, a deadlock, a serialization failure
# a value, a constraint, a check option, a trigger that raises or takes one row for granted
BAD_ROW = ("22", "23", "44", "P0", "21", "27")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Event:
    """One line of a run's log.

    kind: what happened, a word for machines (batch_completed, ...)
    data: its numbers; camelCase, as in the log lines
    place: table.column, if it is about one column
    """

    kind: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)
    place: str = ""


@dataclass
class Stop:
    """The request of Ctrl-C: end after the current batch, or at once.

    interrupts: one per connection; each cancels the statement that runs there
    """

    requested: bool = False
    interrupts: list[Callable[[], None]] = field(default_factory=list)

    def cancel(self) -> None:
        """Cancel the statements that are running."""
        for interrupt in list(self.interrupts):
            interrupt()


class Stopped(Exception):
    """The run ends before all batches are done."""

    def __init__(self, status: str, notes: str) -> None:
        super().__init__(notes)
        self.status = status
        self.notes = notes


class Brakes(Protocol):
    """What may hold a run: the health of the database."""

    def reason(self) -> str | None:
        """What the run must wait for; None if it may go on."""


@dataclass(frozen=True)
class Order:
    """What to do: the plan's statements and options.

    record:           what the kind of the run is, see the macro run_kind
    statuses:         those of a run that may be worked on
    statement_timeout_ms: of the kind of run; None = below the server's deadlock_timeout
    tenants:          None for all, else ids as text, None among them for rows of no tenant
    by_tenant:        batches are cut by tenant: a batch is rows of one
    compare_others:   record the rows whose other columns change with the managed one
    waits_for_disk:   every commit does, not only those that end a range or the run
    canonical_values: by (table, column), if an index of dirty rows is there
    """

    run_id: uuid.UUID
    record: Mapping[str, Any]
    statuses: Sequence[str]
    statements: Mapping[str, Statement]
    tenants: list[str | None] | None
    batch_size: int
    max_quarantined: int
    lease_seconds: float
    lock_timeout_ms: int
    statement_timeout_ms: int | None = None
    by_tenant: bool = False
    compare_others: bool = False
    waits_for_disk: bool = False
    brakes: Brakes | None = None
    canonical_values: Mapping[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def rules(self) -> Mapping[str, Any]:
        """Those of the kind of run."""
        return dict(self.record["rules"])

    def named(self, purpose: str, place: tuple[str, ...] = ()) -> list[str]:
        """Names of the statements for a purpose, in the order in which they run."""
        return runs.named(self.statements, self.record, purpose, place)


class Session:
    """One connection, opened again if it is lost."""

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
        self.connection = connect()
        self.on_reconnect: Callable[[], None] = lambda: None  # after every reconnection
        self.lock_timeout = order.lock_timeout_ms
        self.lock_timeout, self.statement_timeout = self._timeouts()
        stop.interrupts.append(self._interrupt)

    def close(self) -> None:
        """Close the connection for good."""
        self.stop.interrupts.remove(self._interrupt)
        self.connection.close()

    def run(self, statement: str, **values: object) -> Rows:
        """Run a statement in the open transaction; values without a parameter are ignored."""
        return self.order.statements[statement].run_with(self.connection, values)

    def rows(self, *statements: str, **values: object) -> list[tuple[Any, ...]]:
        """Run statements in a transaction of their own, again if the connection is lost.

        Returns the rows of the last one. Only for statements that may run twice. One round trip: a
        runner that hangs leaves no transaction open, for whose locks the next one would wait.
        """

        def read() -> list[tuple[Any, ...]]:
            with self.connection.pipeline():
                *_, found = [self.run(statement, **values) for statement in statements]
                self.connection.commit()
            return found.fetchall() if found.description else []

        return self.again(read)

    def again(self, work: Callable[[], Result]) -> Result:
        """Call `work` in one transaction; again after a lost connection, a lock or a timeout."""
        tries = 0
        while True:
            try:
                result = work()
                if self.connection.info.transaction_status != TransactionStatus.IDLE:
                    self.connection.commit()
                return result
            except psycopg.Error as error:
                kind = self.kind(error)
                tries += kind == "retry"
                if kind == "lost":
                    self.reconnect(error)
                elif kind == "retry" and tries <= RETRIES:
                    self.interrupted(error)
                    time.sleep(random.uniform(0, self.lock_timeout / 1000))
                else:
                    raise

    def begin(self, statements: int) -> None:
        """Set the timeouts; first in the transaction of a batch, of so many statements."""
        self.run(
            "run__begin_batch",
            lock_timeout=f"{self.lock_timeout}ms",
            statement_timeout=f"{self.statement_timeout}ms",
            transaction_timeout=f"{self.statement_timeout * statements}ms",
            waits_for_disk=self.order.waits_for_disk,
            by_keys=self.order.rules["by_keys"],
        )
        for name in self.order.named("begin"):
            self.run(name)

    def kind(self, error: psycopg.Error) -> str:
        """Classify an error; rolls the transaction back.

        A trigger can raise the SQLSTATE of a lost connection, so the connection is tried.
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

    def reconnect(self, error: psycopg.Error) -> bool:
        """Open the connection again; gives up after RECONNECT_SECONDS.

        Returns whether the server could not be reached at first: it may have crashed.
        """
        was_gone = False
        self.report(Event("reconnecting", f"Connection lost: {first_line(error)}", "warn"))
        self.connection.close()
        until = time.monotonic() + RECONNECT_SECONDS
        pause = 0.05
        while True:
            try:
                self.connection = self.connect()
                break
            except TrueupError:
                was_gone = True
                if time.monotonic() > until or self.stop.requested:
                    raise
                time.sleep(random.uniform(pause / 2, pause))
                pause = min(pause * 2, 5)
        self.on_reconnect()
        return was_gone

    def interrupted(self, error: psycopg.Error) -> None:
        """Raise Stopped if the error is a statement that Ctrl-C cancelled."""
        if error.sqlstate == "57014" and self.stop.requested:
            raise Stopped("interrupted", "by Ctrl-C or SIGTERM, in the middle of a batch")

    def _interrupt(self) -> None:
        with suppress(psycopg.Error):  # the statement has ended, or the server is gone
            self.connection.cancel_safe()

    def _timeouts(self) -> tuple[int, int]:
        """Milliseconds for locks and statements: below the server's deadlock_timeout, so that the
        application is never the deadlock's victim, unless the kind of run has its own.
        """
        if self.order.statement_timeout_ms is not None:
            return self.lock_timeout, self.order.statement_timeout_ms
        query = "select extract(epoch from cast(current_setting('deadlock_timeout') as interval))"
        row = self.again(lambda: self.connection.execute(query).fetchone())
        limit = int(float(row[0] if row else 1) * 1000 * TIMEOUT_SHARE)
        return min(self.lock_timeout, limit), limit


def begin_scan(
    statements: Mapping[str, Statement],
    connected: psycopg.Connection[Any],
    begins: Sequence[str] = ("run__begin_reading",),
) -> None:
    """Switch timeouts off for a statement that reads a whole table or the audit.

    A timeout of the role is meant for other queries; here it would only start the read again.
    begins: statements that begin it besides, normally those for a join with the ledger
    """
    statements["run__begin_batch"].run(
        connected, lock_timeout="0", statement_timeout="0", transaction_timeout="0",
        waits_for_disk=True, by_keys=False,
    )  # fmt: skip
    for name in begins:
        statements[name].run(connected)


def classify(error: psycopg.Error) -> str:
    """The meaning of an error for a batch: lost, retry, bad row, or stop."""
    state = error.sqlstate
    if state is None:
        return "lost" if isinstance(error, psycopg.OperationalError) else "stop"
    for kind, states in (("lost", CONNECTION_LOST), ("retry", RETRY), ("bad row", BAD_ROW)):
        if state.startswith(states):
            return kind
    return "stop"
