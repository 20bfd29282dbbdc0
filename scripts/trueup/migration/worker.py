"""A worker of a run: claims ranges and changes their batches in short transactions.

Each worker has its own connection. It decides how large a piece of a batch one transaction takes,
and what to do about an error. `Shared` holds what the workers of a runner have in common.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import psycopg

from trueup.core.errors import TrueupError, first_line
from trueup.core.statements import Rows
from trueup.migration import keys
from trueup.migration.keys import Keys, Piece
from trueup.migration.session import Event, Order, Session, Stop, Stopped, begin_scan

MAX_PIECES = 64  # that a batch starts with; an error cuts it smaller
RECONNECTS_BEFORE_SPLIT = 5  # in one piece, before it is cut in two
PARTS_AFTER_CRASH = 16  # a piece is cut into, if the server was gone
CRASHES_OF_A_ROW = 3  # before the run stops
CUT_PAYS_BELOW = 0.75  # of the time before: above it, pieces of half the size are no faster
BATCHES_UNTIL_NEXT_CUT = 50  # after pieces of half the size were no faster
BRAKE_SECONDS = 0.2  # between two reads of the brakes while they are on
RANGES_OF_TENANTS = 8  # claimed at once, if batches are cut by tenant
LISTED_ROWS = 1_000_000  # planned rows of the tenants that are listed in one pass


Key = list[str]


class Batch(NamedTuple):
    """A batch as it was claimed; ranges are (start, end], keys as texts."""

    batch_id: int
    table_name: str
    column_name: str
    fund_id: str | None
    range_start: Key | None
    range_end: Key
    stripe: int
    stripes: int
    hashed: bool
    rows_in_batch: int

    @property
    def place(self) -> tuple[str, str]:
        """Table and column."""
        return self.table_name, self.column_name


class State(NamedTuple):
    """A batch after a piece, and the operator's current settings."""

    batch_id: int
    rows_updated: int
    rows_skipped: int
    rows_failed: int
    duration_ms: float
    requested_status: str | None
    target_ms: int
    sleep_ms: int
    workers: int


class LeaseLost(Exception):
    """Another runner took over the run. Its state in the ledger is complete; this one only ends."""


@dataclass
class Shared:
    """The shared state of one runner's workers.

    lock:    held while a number changes or a range is claimed
    halt:    set if a worker met an error that ends the run
    held:    ids of the batches that the workers have claimed
    listed:  lists of batches that are cut by tenant, by batch_id; listing: held while they are read
    wanted:  number of workers that the operator wants
    renewed: when the lease was last renewed, by time.monotonic()
    """

    order: Order
    token: uuid.UUID
    lock: threading.RLock = field(default_factory=threading.RLock)
    halt: threading.Event = field(default_factory=threading.Event)
    held: set[int] = field(default_factory=set)
    listing: threading.Lock = field(default_factory=threading.Lock)
    listed: dict[int, list[Keys]] = field(default_factory=dict)
    wanted: int = 1
    done: int = 0
    total: int = 0
    renewed: float = field(default_factory=time.monotonic)

    @property
    def hold(self) -> dict[str, Any]:
        """The run and the lease."""
        return {"run_id": self.order.run_id, "lease_token": self.token,
                "lease_seconds": self.order.lease_seconds}  # fmt: skip


class Worker:
    """One connection that works on batch after batch.

    number: from 0; the worker ends if fewer workers are wanted.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        shared: Shared,
        report: Callable[[Event], None],
        stop: Stop,
        number: int = 0,
    ) -> None:
        self.shared = shared
        self.order = shared.order
        self.report = report
        self.stop = stop
        self.number = number
        self.session = Session(connect, shared.order, report, stop)
        self.pieces = 1  # of a batch; doubled if batches take too long
        self.begun = 1  # pieces of this batch at its start
        self.before: tuple[int, float] | None = None  # pieces of the last batch, seconds of one
        self.uncut = 0  # batches until they may be cut smaller again
        self.losses = 0  # of the connection since the last completed piece
        self.tables: dict[tuple[str, str], tuple[bool, bool]] = {}  # see the statement table_now
        self.values: dict[tuple[str, str], tuple[keys.Values, dict[str, str]]] = {}

    def work(self, before_range: Callable[[], None] = lambda: None) -> None:
        """Work on ranges until none is open, fewer workers are wanted, or the run ends.

        Worker 0 always stays. before_range: called before every claim.
        """
        while self.number < max(self.shared.wanted, 1):
            before_range()
            batches = self._claim()
            if not batches:
                return
            try:
                self._wait_for_brakes()
                lists = self._lists(batches)
                self._finish_empty([each for each in batches if not lists.get(each.batch_id)])
                for batch in sorted(batches, key=lambda each: (each.stripe, each.batch_id)):
                    if not lists.get(batch.batch_id):
                        continue
                    self._wait_for_brakes()
                    if self.shared.halt.is_set():
                        return
                    self.batch(batch, lists[batch.batch_id])
                    self.shared.held.discard(batch.batch_id)
            finally:
                self.shared.held.difference_update(batch.batch_id for batch in batches)
            for last in {batch.place: batch for batch in batches}.values():
                self._note_progress(last)

    def renew(self, at_once: bool = False) -> None:
        """Renew the lease if a third of it has passed; raises LeaseLost."""
        with self.shared.lock:
            late = time.monotonic() - self.shared.renewed > self.order.lease_seconds / 3
            if not late and not at_once:
                return
            self.shared.renewed = time.monotonic()  # so that other workers do not renew it, too
        if not self.session.rows("run__renew_lease", **self.shared.hold):
            raise LeaseLost

    @contextmanager
    def lease_kept_alive(self) -> Iterator[None]:
        """Renew the lease from another thread while a long statement runs.

        A longer lease would need no thread, but the next runner would wait for it after a kill.
        """
        self.renew()
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(max(self.order.lease_seconds / 3, 0.1)):
                # a lease that cannot be renewed is noticed at the next renewal
                with suppress(psycopg.Error, TrueupError), self.session.connect() as connection:
                    self.order.statements["run__renew_lease"].run(connection, **self.shared.hold)

        threading.Thread(target=keep, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()
        self.renew()

    # ------------------------------------------------------------------------------- one batch

    def batch(self, batch: Batch, lists: Sequence[Keys]) -> None:
        """Change the rows of a batch in one transaction or, if that fails, in several."""
        number = self._begin_batch()
        self.begun = self.pieces
        units = self.order.rules["by_unit"]
        pieces = deque(
            piece
            for each in lists
            for piece in Piece(each, 1, each.total).cut(
                -(-each.total // units) if units else self.pieces
            )
        )
        slowest = 0.0
        held: list[Piece] = []
        changed: list[Piece] = []
        state: State | None = None
        finished = False
        while pieces:
            self.renew()
            piece = pieces.popleft()
            started = time.monotonic()
            last = not pieces and not held
            try:
                done = self.piece(batch, piece, is_last=last)
            except psycopg.Error as error:
                if self._handle_error(error, batch, piece, pieces, held, changed):
                    finished = True
                    break
                continue
            if done is None:
                # an earlier transaction, whose answer was lost, may have finished the batch since
                if not self._is_finished(batch):
                    raise LeaseLost
                finished = True
                break
            state = done
            changed.append(piece)
            self.losses = 0
            finished = last
            slowest = max(slowest, time.monotonic() - started)
        if not finished:
            state = self._finish(batch, held)
        if state is not None:
            if slowest and self.pieces == self.begun and not units:
                self._adapt(slowest, state.target_ms)
            self._report_batch(batch, number, state, held)
            self._obey(state)
            self._pause(batch, state.sleep_ms)
        if self.stop.requested:
            raise Stopped("interrupted", "by Ctrl-C or SIGTERM")

    def _begin_batch(self) -> int:
        """Report a batch as begun; returns its number in the run."""
        with self.shared.lock:
            self.shared.done += 1
            number, total = self.shared.done, self.shared.total
        self.report(Event("batch_started", f"Processing batch {number}/{total}..."))
        return number

    def _finish_empty(self, batches: Sequence[Batch]) -> None:
        """Finish batches that have nothing to change, in one transaction."""
        if not batches:
            return
        named = {batch.batch_id: batch for batch in batches}
        rows = self.session.rows("run__finish_piece", batch_ids=list(named), is_last=True,
                                 lease_token=self.shared.token, error_message=None)  # fmt: skip
        if len(rows) < len(batches):  # unless an answer was lost, they are not ours
            self.renew(at_once=True)
        self.shared.held.difference_update(named)
        for state in map(State._make, rows):
            self._report_batch(named[state.batch_id], self._begin_batch(), state, [])
            self._obey(state)
        if self.stop.requested:
            raise Stopped("interrupted", "by Ctrl-C or SIGTERM")

    def _handle_error(
        self,
        error: psycopg.Error,
        batch: Batch,
        piece: Piece,
        pieces: deque[Piece],
        held: list[Piece],
        changed: list[Piece],
    ) -> bool:
        """After a failed piece: retry it, cut it, quarantine its row, or end the run.

        changed: pieces that are done. A server that was gone may have forgotten them: once more.
        Returns whether the batch is finished, by a transaction whose answer was lost.
        """
        kind = self.session.kind(error)
        if kind == "lost":
            was_gone = self.session.reconnect(error)
            if self._is_finished(batch):
                return True
            pieces.extendleft(reversed(self._after_loss(batch, piece, was_gone)))
            if was_gone:
                pieces.extend(changed)
                changed.clear()
            return False
        if kind == "stop":
            self._fail(batch, error)
            raise error
        if kind == "retry":
            self.session.interrupted(error)
            self.pieces = min(self.begun * 2, MAX_PIECES)
            time.sleep(random.uniform(0, self.session.lock_timeout / 1000))
        if not piece.is_single:
            pieces.extendleft(reversed(piece.cut(2)))
        elif kind == "bad row":
            self._quarantine(batch, piece, error)
        else:
            held.append(piece)
        return False

    def _after_loss(self, batch: Batch, piece: Piece, was_gone: bool) -> list[Piece]:
        """The piece again after its connection was lost, or smaller ones: it may be the reason.

        was_gone: the server could not be reached for a while. If it is gone again and again under
        the same row, the row crashes it, and the run stops.
        """
        self.losses += 1
        if not was_gone and self.losses % RECONNECTS_BEFORE_SPLIT:
            return [piece]
        if was_gone and piece.is_single and self.losses >= CRASHES_OF_A_ROW:
            gone = f"the server was gone {self.losses} times while batch {batch.batch_id} changed"
            row = f"row {keys.text(piece)} of {'.'.join(batch.place)}"
            raise Stopped("failed", f"{gone} {row}")
        parts = piece.cut(PARTS_AFTER_CRASH if was_gone else 2)
        if len(parts) > 1:
            self.losses = 0
        return parts

    def piece(self, batch: Batch, piece: Piece, is_last: bool) -> State | None:
        """One transaction in one round trip; None if the batch is not ours or not open."""
        has_later_triggers, is_partitioned = self.tables.get(batch.place, (False, False))
        planned, _ = self._planned(batch.place)
        values: dict[str, Any] = {
            **batch._asdict(),
            **piece._asdict(),
            "batch_ids": [batch.batch_id],
            "lease_token": self.shared.token,
            "is_partitioned": is_partitioned,
            "tenants": self.order.tenants,
            "by_tenant": self.order.by_tenant,
            "is_last": is_last,
            "error_message": None,
            **piece.keys.arrays,
            **planned.of(piece.keys.map_ids),
        }
        changes = self.order.named(
            "compare" if self.order.compare_others else "change", batch.place
        )
        confirms = self.order.named("confirm", batch.place) if has_later_triggers else []
        (finish,) = self.order.named("finish", batch.place)
        is_long = self.order.statement_timeout_ms is not None
        kept_alive = self.lease_kept_alive() if is_long else nullcontext()
        with kept_alive, self.session.connection.pipeline():
            self.session.begin(len(changes) + len(confirms) + 1)
            changed = [self.session.run(name, **values) for name in changes]
            if confirms:  # what deferred triggers write is part of the change
                self.session.connection.execute("set constraints all immediate")
            changed += [self.session.run(name, **values) for name in confirms]
            finished = self.session.run(finish, **values)
            self.session.connection.commit()
        row = finished.fetchone()
        answers = [answer for each in changed if (answer := each.fetchone())]
        if row is None or len(answers) < len(changed):
            return None
        for name in self.order.named("left", batch.place):
            _, rows_changed, snapshot = answers[0]
            is_less = rows_changed <= piece.last_place - piece.first_place
            if is_less and (left := self.session.rows(name, **values, snapshot=snapshot)):
                self._report_refused(batch, left)
        return State(*row)

    def _finish(self, batch: Batch, held: Sequence[Piece]) -> State | None:
        """Close a batch that its last piece left open: done, or with rows locked elsewhere."""
        named = ", ".join(keys.text(piece) for piece in held[:5])
        message = f"{len(held)} rows were locked by other sessions: {named}" if held else None
        if rows := self._close(batch, message):
            return State(*rows[0])
        if self._is_finished(batch):  # by an earlier try whose answer was lost
            return None
        raise LeaseLost

    def _close(self, batch: Batch, message: str | None) -> list[tuple[Any, ...]]:
        return self.session.rows("run__finish_piece", batch_ids=[batch.batch_id], is_last=True,
                                 lease_token=self.shared.token, error_message=message)  # fmt: skip

    def _quarantine(self, batch: Batch, piece: Piece, error: psycopg.Error) -> None:
        (name,) = self.order.named("refuse", batch.place)
        self.session.rows(
            name,
            batch_id=batch.batch_id,
            lease_token=self.shared.token,
            first_place=piece.first_place,
            sqlstate=error.sqlstate,
            error_message=first_line(error),
            **piece.keys.arrays,
        )
        self._report_refused(batch, [(keys.text(piece), first_line(error))])

    def _report_refused(self, batch: Batch, refused: Iterable[tuple[str, str]]) -> None:
        """Report quarantined rows (key, reason); raises Stopped if there are too many."""
        for key, reason in refused:
            message = f"Row {key} of {batch.table_name} cannot be changed: {reason}"
            self.report(Event("quarantined", message, "error"))
        most = self.order.max_quarantined
        if self.totals()["rows_failed"] > most:
            raise Stopped("failed", f"more than {most} rows cannot be changed")

    def _fail(self, batch: Batch, error: psycopg.Error) -> None:
        message = first_line(error)
        self._close(batch, message)
        self.report(Event("batch_failed", f"Batch {self.shared.done} failed: {message}", "error"))

    def _report_batch(self, batch: Batch, number: int, state: State, held: Sequence[Piece]) -> None:
        data = {"rowsUpdated": state.rows_updated, "rowsSkipped": state.rows_skipped,
                "rowsFailed": state.rows_failed,
                "durationMs": round(state.duration_ms)}  # fmt: skip
        kind, words, level = "batch_completed", "completed", "info"
        if held:
            words = f"failed: {len(held)} rows were locked by other sessions"
            kind, level = "batch_failed", "error"
        self.report(Event(kind, f"Batch {number} {words}", level, data, ".".join(batch.place)))
        for name in self.order.named("tell", batch.place):
            for (message,) in self.session.rows(name, batch_id=batch.batch_id):
                self.report(Event("batch_told", message))

    # ------------------------------------------------------------------------- pace and control

    def _obey(self, state: State) -> None:
        self.shared.wanted = state.workers
        self._obey_request(state.requested_status)

    def _obey_request(self, requested_status: str | None) -> None:
        if requested_status in ("paused", "cancelled"):
            raise Stopped(requested_status, "on request")

    def _wait_for_brakes(self) -> None:
        """Wait while a brake is on; renew the lease and obey the operator meanwhile."""
        brakes = self.order.brakes
        shown: str | None = None
        while brakes and (reason := brakes.reason()) and not self.shared.halt.is_set():
            if reason != shown:
                self.session.rows("run__note_brake", **self.shared.hold, brake=reason)
                shown = reason
            for requested, wanted in self.session.rows(
                "run__control_state", run_id=self.order.run_id
            ):
                self._obey_request(requested)
                self.shared.wanted = wanted
            if self.stop.requested:
                raise Stopped("interrupted", f"by Ctrl-C or SIGTERM, waiting for {reason}")
            time.sleep(BRAKE_SECONDS)
            self.renew()
        if shown:
            self.session.rows("run__note_brake", **self.shared.hold, brake=None)

    def _adapt(self, seconds: float, target_ms: int) -> None:
        """Use more pieces if a batch takes twice the wanted time, fewer if it takes half of it.

        seconds: of the slowest piece of a batch. If pieces of half the size are no faster, their
        size is not what takes the time: they grow again, and are left alone for a while.
        """
        before, self.before = self.before, (self.pieces, seconds)
        self.uncut = max(self.uncut - 1, 0)
        if seconds * 1000 <= 2 * target_ms:
            if seconds * 1000 < target_ms / 2:
                self.pieces = max(self.pieces // 2, 1)
        elif before and before[0] < self.pieces and seconds > CUT_PAYS_BELOW * before[1]:
            self.pieces, self.uncut = before[0], BATCHES_UNTIL_NEXT_CUT
        elif not self.uncut:
            self.pieces = min(self.pieces * 2, MAX_PIECES)

    def _pause(self, batch: Batch, sleep_ms: int) -> None:
        """Sleep in proportion to the rows that were read, if a batch follows."""
        if self.shared.done >= self.shared.total:
            return
        share = min(batch.rows_in_batch / self.order.batch_size, 1)
        until = time.monotonic() + sleep_ms / 1000 * share
        if sleep_ms and not self.stop.requested:
            self.report(Event("sleeping", f"Sleeping {sleep_ms}ms before next batch..."))
        while (left := until - time.monotonic()) > 0 and not self.stop.requested:
            if self.shared.halt.is_set():
                return
            time.sleep(min(left, 0.2))
            self.renew()

    # ------------------------------------------------------------------------------- the ledger

    def totals(self) -> dict[str, int]:
        """Counts of batches and rows of the run so far, as `batch_totals` names them."""
        return self.session.again(
            lambda: counts(self.session.run("run__batch_totals", run_id=self.order.run_id))
        )

    def _claim(self) -> list[Batch]:
        """Claim the open batches of ranges; one worker at a time, so no two claim the same.

        One of several workers takes two ranges in turn: when it comes back to a page, the others'
        snapshots have moved on, so the page can be pruned. If batches are cut by tenant, a range is
        one batch, and some are claimed at once.
        """
        pairs = self.shared.wanted > 1 and self.order.rules["by_keys"]
        ranges = RANGES_OF_TENANTS if self._is_whole_list else 1 + pairs
        self.renew()
        with self.shared.lock:
            (name,) = self.order.named("claim")
            claimed = sorted(
                Batch(*row)
                for row in self.session.rows(
                    name,
                    **self.shared.hold,
                    held_batches=sorted(self.shared.held),
                    ranges=ranges,
                )
            )
            self.shared.held.update(batch.batch_id for batch in claimed)
        return claimed

    def _note_progress(self, last: Batch) -> None:
        self.session.rows(
            "run__note_progress",
            **self.shared.hold,
            table_name=last.table_name,
            column_name=last.column_name,
            last_id=",".join(last.range_end),
        )

    def _is_finished(self, batch: Batch) -> bool:
        """Whether the transaction whose answer was lost ended the batch."""
        for status, is_ours in self.session.rows(
            "run__batch_state", batch_id=batch.batch_id, lease_token=self.shared.token
        ):
            return status in ("completed", "failed") and bool(is_ours)
        return False

    @property
    def _is_whole_list(self) -> bool:
        """Whether one pass over the table lists many batches, not one range."""
        return self.order.by_tenant and bool(self.order.named("keys_by_tenant"))

    def _lists(self, batches: Sequence[Batch]) -> Mapping[int, list[Keys]]:
        """The keys that claimed batches change, by batch_id."""
        found: dict[int, list[Keys]] = {}
        if not self._is_whole_list:
            for _, own in groupby(batches, key=lambda each: (*each.place, each.range_end)):
                found |= self._listed("keys", list(own))
            return found
        with self.shared.listing:
            listed = self.shared.listed
            missing = (each for each in batches if each.batch_id not in listed)
            for _, own in groupby(missing, key=lambda each: each.place):
                listed |= self._listed("keys_by_tenant", list(own))
            return {each.batch_id: listed.pop(each.batch_id, []) for each in batches}

    def _listed(self, purpose: str, batches: Sequence[Batch]) -> dict[int, list[Keys]]:
        first = batches[0]
        by_stripe = {batch.stripe: batch.batch_id for batch in batches}
        _, planned = self._planned(first.place)
        (name,) = self.order.named(purpose, first.place)
        statement = self.order.statements[name]
        values: dict[str, Any] = {
            **first._asdict(),
            "run_id": self.order.run_id,
            "batch_ids": [batch.batch_id for batch in batches],
            "stripe_batches": [by_stripe.get(stripe) for stripe in range(first.stripes)],
            "first_batch_id": min(batch.batch_id for batch in batches),
            "most_rows": LISTED_ROWS,
            "tenants": self.order.tenants,
            "canonical_values": self.order.canonical_values.get(first.place),
            **planned,
        }

        def read() -> dict[int, list[Keys]]:
            begins = ["run__begin_list", *self.order.named("begin")]
            with self.session.connection.pipeline():
                begin_scan(self.order.statements, self.session.connection, begins)
                answer = statement.run_with(self.session.connection, values, is_binary=True)
                table = [self.session.run(each) for each in self.order.named("table", first.place)]
            for each in table:
                (self.tables[first.place],) = each
            return keys.lists(answer)

        with self.lease_kept_alive():
            return self.session.again(read)

    def _planned(self, place: tuple[str, str]) -> tuple[keys.Values, dict[str, str]]:
        """The planned changes of a column, and all of them as parameters."""
        if place not in self.values:
            of_place = {"table_name": place[0], "column_name": place[1]}
            found = keys.values(
                row
                for name in self.order.named("values", place)
                for row in self.session.rows(name, run_id=self.order.run_id, **of_place)
            )
            self.values[place] = found, found.of(found.before)
        return self.values[place]


def counts(found: Rows) -> dict[str, int]:
    """The one row of a statement that counts, by the names of its columns."""
    names = [column.name for column in found.description or []]
    return {name: int(value) for name, value in zip(names, found.fetchone() or (), strict=True)}
