"""A worker of a run: claims range after range and changes their batches, in short transactions.

Each has a connection of its own. It decides how large a piece of a batch to take, and what to do
about an error; what all workers of a runner have in common is in `Shared`.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import psycopg
from psycopg.adapt import PyFormat, Transformer

from trueup.core import runs
from trueup.core.errors import first_line
from trueup.core.statements import Rows, Statement, column_statement
from trueup.migration.session import Event, Session, Stop, Stopped

MAX_STRIPES = 64  # pieces of a range; beyond, a batch is cut by key
LOSSES = 5  # of the connection under one piece, before it is cut smaller
HELPS = 0.75  # of the time before: a cut in two by stripes that leaves more than this does not pay
BRAKE_SECONDS = 0.2  # between two looks at the brakes while they are on


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
    dense: bool
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
    workers: int


class Brakes(Protocol):
    """What may hold a run: the health of the database."""

    def reason(self) -> str | None:
        """What to wait for; None where nothing stands in the way."""


@dataclass(frozen=True)
class Order:
    """What to do: the plan's statements and options.

    kind:             migrate or rollback
    statuses:         those of a run that may be worked on
    tenants:          None for all, else ids as text, None among them for rows of no tenant
    by_tenant:        batches are cut by tenant: a batch is rows of one
    compare_others:   record the rows whose other columns change with the managed one
    canonical_values: of a column (table, column) with an index of what is not canonical
    """

    run_id: uuid.UUID
    kind: str
    statuses: Sequence[str]
    statements: Mapping[str, Statement]
    tenants: list[str | None] | None
    batch_size: int
    max_quarantined: int
    lease_seconds: float
    lock_timeout_ms: int
    by_tenant: bool = False
    compare_others: bool = False
    brakes: Brakes | None = None
    canonical_values: Mapping[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def change(self) -> str:
        """The statement that changes the rows of a batch, by its purpose."""
        if self.kind == runs.ROLLBACK:
            return "revert_batch"
        return "apply_batch_comparing" if self.compare_others else "apply_batch"

    @property
    def keys(self) -> str:
        """The statement that lists the keys of the rows that a batch would change."""
        return "keys_to_revert" if self.kind == runs.ROLLBACK else "keys_to_change"


class LeaseLost(Exception):
    """Somebody else works on the run now; what they see is whole, we only have to leave."""


@dataclass
class Shared:
    """What the workers of one runner have in common.

    lock:    before any of the numbers is changed, and while a range is claimed
    halt:    set where one of them has met the end of the run
    held:    ids of the batches they have claimed
    wanted:  how many workers there should be
    renewed: when the runner was last heard of, as time.monotonic() has it
    """

    order: Order
    token: uuid.UUID
    lock: threading.RLock = field(default_factory=threading.RLock)
    halt: threading.Event = field(default_factory=threading.Event)
    held: set[int] = field(default_factory=set)
    wanted: int = 1
    done: int = 0
    total: int = 0
    renewed: float = field(default_factory=time.monotonic)

    @property
    def hold(self) -> dict[str, Any]:
        """Whose lease on which run."""
        return {"run_id": self.order.run_id, "lease_token": self.token}


class Worker:
    """One connection, and the walk over the batches.

    number: of the worker, from 0; it ends where fewer are wanted.
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
        self.session = Session(
            connect, shared.order.statements, shared.order.lock_timeout_ms, report, stop
        )
        self.pieces = 1  # of a batch; doubled where batches take too long
        self.begun = 1  # pieces of this batch when it began
        self.by_key = False  # cut by key: stripes of a range did not make its pieces shorter
        self.took: dict[int, float] = {}  # seconds of the slowest piece, by number of pieces
        self.losses = 0  # of the connection since a piece was last done
        self.values: dict[tuple[str, str], dict[str, str]] = {}

    def work(self, before_range: Callable[[], None] = lambda: None) -> None:
        """Range after range, until none is open, fewer workers are wanted, or the run ends.

        The first worker stays whatever is wanted. before_range: called before every claim.
        """
        while self.number < max(self.shared.wanted, 1):
            before_range()
            batches = self._claim()
            if not batches:
                return
            try:
                for batch in sorted(batches, key=lambda each: each.stripe):
                    self._wait_for_brakes()
                    if self.shared.halt.is_set():
                        return
                    self.batch(batch)
                    self.shared.held.discard(batch.batch_id)
            finally:
                self.shared.held.difference_update(batch.batch_id for batch in batches)
            self._note_progress(batches[-1])

    def renew(self, at_once: bool = False) -> None:
        """Be heard of, now and then; raises LeaseLost."""
        with self.shared.lock:
            late = time.monotonic() - self.shared.renewed > self.order.lease_seconds / 3
            if not late and not at_once:
                return
            self.shared.renewed = time.monotonic()  # the others need not ask meanwhile
        lease_seconds = self.order.lease_seconds
        if not self.session.rows("renew_lease", **self.shared.hold, lease_seconds=lease_seconds):
            raise LeaseLost

    # ------------------------------------------------------------------------------- one batch

    def batch(self, batch: Batch) -> None:
        """Change the rows of a batch, in one transaction or, where that fails, in several."""
        with self.shared.lock:
            self.shared.done += 1
            number, total = self.shared.done, self.shared.total
        self.report(Event("batch_started", f"Processing batch {number}/{total}..."))
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
                done = self.piece(batch, piece, is_last=last)
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
            self._report_batch(batch, number, state, held)
            self._obey(state.requested_status)
            self.shared.wanted = state.workers
            self._pause(batch, state.sleep_ms)
        if self.stop.requested:
            raise Stopped("interrupted", "by the person at the keyboard")

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
        kind = self.session.kind(error)
        if kind == "lost":
            self.session.reconnect(error)
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
            self.session.interrupted(error)
            self.by_key |= is_scan
            self.pieces = min(self.begun * 2, MAX_STRIPES)
            time.sleep(random.uniform(0, self.session.lock_timeout / 1000))
        smaller = [
            each._replace(was_cut=is_late)
            for each in self.cut(batch, piece, by_key=is_scan or kind == "bad row")
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

    def piece(self, batch: Batch, piece: Piece, is_last: bool) -> State | None:
        """One transaction, in one round trip; None where the batch is not ours, or not open."""
        values = self._values(batch, piece)
        name = column_statement(self.order.change, batch.table_name, batch.column_name)
        with self.session.connection.pipeline():
            self.session.begin()
            changed = self.session.run(name, lease_token=self.shared.token, **values)
            finished = self.session.run(
                "finish_piece",
                batch_id=batch.batch_id,
                lease_token=self.shared.token,
                is_last=is_last,
                error_message=None,
            )
            self.session.connection.commit()
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
        rows = self.session.rows("finish_piece", batch_id=batch.batch_id, is_last=True,
                                 lease_token=self.shared.token, error_message=message)  # fmt: skip
        if rows:
            return State(*rows[0])
        if self._is_finished(batch):  # by a first try whose answer was lost
            return None
        raise LeaseLost

    def cut(self, batch: Batch, piece: Piece, by_key: bool) -> list[Piece]:
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
        """Pieces of about as many rows to change; one of a single row, or none, see `cut`."""
        keys = [
            key
            for (key,) in self.session.rows(
                column_statement(self.order.keys, batch.table_name, batch.column_name),
                **self._values(batch, piece),
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
        self.session.rows(
            column_statement("quarantine", batch.table_name, batch.column_name),
            batch_id=batch.batch_id,
            lease_token=self.shared.token,
            range_end=piece.range_end,
            sqlstate=error.sqlstate,
            error_message=first_line(error),
        )
        quarantined = self.totals()["rows_failed"]
        self.report(
            Event(
                "quarantined",
                f"Row {','.join(piece.range_end)} of {batch.table_name} cannot be changed: "
                f"{first_line(error)}",
                "error",
            )
        )
        if quarantined > self.order.max_quarantined:
            raise Stopped(
                "failed", f"more than {self.order.max_quarantined} rows cannot be changed"
            )

    def _fail(self, batch: Batch, error: psycopg.Error) -> None:
        self.session.rows("finish_piece", batch_id=batch.batch_id, is_last=True,
                          lease_token=self.shared.token,
                          error_message=first_line(error))  # fmt: skip
        self.report(
            Event("batch_failed", f"Batch {self.shared.done} failed: {first_line(error)}", "error")
        )

    def _report_batch(self, batch: Batch, number: int, state: State, held: list[Key]) -> None:
        data = {
            "rowsUpdated": state.rows_updated,
            "rowsSkipped": state.rows_skipped,
            "rowsFailed": state.rows_failed,
            "durationMs": round(state.duration_ms),
        }
        place = f"{batch.table_name}.{batch.column_name}"
        if held:
            message = f"Batch {number} failed: {len(held)} rows were locked by other sessions"
            self.report(Event("batch_failed", message, "error", data, place))
        else:
            self.report(Event("batch_completed", f"Batch {number} completed", "info", data, place))

    # ------------------------------------------------------------------------- pace and control

    def _obey(self, requested_status: str | None) -> None:
        if requested_status in ("paused", "cancelled"):
            raise Stopped(requested_status, "on request")

    def _wait_for_brakes(self) -> None:
        """As long as the database is not well: wait, be heard of, and do as the operator says."""
        brakes = self.order.brakes
        shown: str | None = None
        while brakes and (reason := brakes.reason()) and not self.shared.halt.is_set():
            if reason != shown:
                self.session.rows("note_brake", **self.shared.hold, brake=reason)
                shown = reason
            for requested, wanted in self.session.rows("control_state", run_id=self.order.run_id):
                self._obey(requested)
                self.shared.wanted = wanted
            if self.stop.requested:
                raise Stopped("interrupted", f"by the person at the keyboard, waiting for {reason}")
            time.sleep(BRAKE_SECONDS)
            self.renew()
        if shown:
            self.session.rows("note_brake", **self.shared.hold, brake=None)

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

    # -------------------------------------------------------------------------------- the books

    def totals(self) -> dict[str, int]:
        """Counts of batches and rows of the run so far, as `batch_totals` names them."""
        return self.session.again(
            lambda: counts(self.session.run("batch_totals", run_id=self.order.run_id))
        )

    def _claim(self) -> list[Batch]:
        """The open batches of a range; one worker at a time, so that no two claim the same."""
        self.renew()
        with self.shared.lock:
            claimed = [
                Batch(*row)
                for row in self.session.rows(
                    "claim_range",
                    **self.shared.hold,
                    lease_seconds=self.order.lease_seconds,
                    held_batches=sorted(self.shared.held),
                )
            ]
            self.shared.held.update(batch.batch_id for batch in claimed)
        return claimed

    def _note_progress(self, last: Batch) -> None:
        self.session.rows(
            "note_progress",
            **self.shared.hold,
            table_name=last.table_name,
            column_name=last.column_name,
            last_id=",".join(last.range_end),
        )

    def _is_finished(self, batch: Batch) -> bool:
        """Did the transaction whose answer was lost end the batch?"""
        for status, is_ours in self.session.rows(
            "batch_state", batch_id=batch.batch_id, lease_token=self.shared.token
        ):
            return status in ("completed", "failed") and bool(is_ours)
        return False

    def _values(self, batch: Batch, piece: Piece) -> dict[str, Any]:
        """What the statements of a batch take."""
        place = (batch.table_name, batch.column_name)
        canonical_values = self.order.canonical_values.get(place)
        return {
            "batch_id": batch.batch_id,
            "hashed": batch.hashed,
            # an index of what is not canonical has fewer rows than there are numbers to look up
            "dense": looks_up(batch.dense, piece) and canonical_values is None,
            "tenants": self.order.tenants,
            "by_tenant": self.order.by_tenant,
            "fund_id": batch.fund_id,
            "canonical_values": canonical_values,
            **self._planned(place),
            **piece._asdict(),
        }

    def _planned(self, place: tuple[str, str]) -> dict[str, str]:
        """The planned changes of a column, as apply_batch takes them."""
        if place not in self.values:
            rows = self.session.rows(
                "value_map",
                run_id=self.order.run_id,
                table_name=place[0],
                column_name=place[1],
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


def array_text(values: Sequence[str | int]) -> str:
    """An array as PostgreSQL writes it: made once, not for every batch (11 ms for 3,400 values)."""
    items = list(values)
    dumped = Transformer().get_dumper(items, PyFormat.TEXT).dump(items)
    return bytes(dumped or b"").decode()


def looks_up(dense: bool, piece: Piece) -> bool:
    """Whether the keys of a piece are looked up: all keys of a range are rather read."""
    return dense and piece.stripes > 1


def halves(piece: Piece, count: int) -> Iterator[Piece]:
    """A piece cut into `count` stripes, a power of two: stripe k of S is k and k + S of 2 S."""
    for number in range(count):
        yield piece._replace(
            stripe=piece.stripe + number * piece.stripes, stripes=piece.stripes * count
        )


def counts(found: Rows) -> dict[str, int]:
    """The one row of a statement that counts, by the names of its columns."""
    names = [column.name for column in found.description or []]
    return {name: int(value) for name, value in zip(names, found.fetchone() or (), strict=True)}


def _whole(batch: Batch) -> Piece:
    return Piece(batch.range_start, batch.range_end, batch.stripe, batch.stripes)
