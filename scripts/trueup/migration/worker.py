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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer

from trueup.core.errors import TrueupError, first_line
from trueup.core.statements import Rows
from trueup.migration.session import Event, Order, Session, Stop, Stopped

MAX_STRIPES = 64  # of a range; smaller pieces are cut by key
RECONNECTS_BEFORE_SPLIT = 5  # in one piece, before it is cut in two
CUT_PAYS_BELOW = 0.75  # of the time before: above it, twice the stripes do not shorten a piece
BRAKE_SECONDS = 0.2  # between two reads of the brakes while they are on


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
    """The part of a batch that one transaction changes, normally all of it.

    is_row:  the piece is a single row
    was_cut: it was cut from a piece that ran into the statement timeout
    """

    range_start: Key | None
    range_end: Key
    stripe: int
    stripes: int
    is_row: bool = False
    was_cut: bool = False


class State(NamedTuple):
    """A batch after a piece, and the operator's current settings."""

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
    wanted:  number of workers that the operator wants
    renewed: when the lease was last renewed, by time.monotonic()
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
        """The run and the lease token."""
        return {"run_id": self.order.run_id, "lease_token": self.token}


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
        self.by_key = False  # cut by key, because more stripes did not make the pieces faster
        self.took: dict[int, float] = {}  # seconds of the slowest piece, by number of pieces
        self.losses = 0  # of the connection since the last completed piece
        self.values: dict[tuple[str, str], dict[str, str]] = {}

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
        """Renew the lease if a third of it has passed; raises LeaseLost."""
        with self.shared.lock:
            late = time.monotonic() - self.shared.renewed > self.order.lease_seconds / 3
            if not late and not at_once:
                return
            self.shared.renewed = time.monotonic()  # so that other workers do not renew it, too
        lease_seconds = self.order.lease_seconds
        if not self.session.rows(
            "run__renew_lease", **self.shared.hold, lease_seconds=lease_seconds
        ):
            raise LeaseLost

    @contextmanager
    def lease_kept_alive(self) -> Iterator[None]:
        """Renew the lease from another thread while a long statement runs.

        A longer lease would need no thread, but the next runner would wait for it after a kill.
        """
        self.renew()
        is_over = threading.Event()
        lease_seconds = self.order.lease_seconds

        def keep() -> None:
            while not is_over.wait(max(lease_seconds / 3, 0.1)):
                # a lease that cannot be renewed is noticed at the next renewal
                with suppress(psycopg.Error, TrueupError), self.session.connect() as connection:
                    self.order.statements["run__renew_lease"].run(
                        connection, **self.shared.hold, lease_seconds=lease_seconds
                    )

        threading.Thread(target=keep, daemon=True).start()
        try:
            yield
        finally:
            is_over.set()
        self.renew()

    # ------------------------------------------------------------------------------- one batch

    def batch(self, batch: Batch) -> None:
        """Change the rows of a batch in one transaction or, if that fails, in several."""
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
                if self._handle_error(error, batch, piece, pieces, held):
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
            raise Stopped("interrupted", "by Ctrl-C or SIGTERM")

    def _handle_error(
        self,
        error: psycopg.Error,
        batch: Batch,
        piece: Piece,
        pieces: deque[Piece],
        held: list[Key],
    ) -> bool:
        """After a failed piece: retry it, cut it, quarantine its row, or end the run.

        Returns whether the batch is finished, by a transaction whose answer was lost.
        """
        kind = self.session.kind(error)
        if kind == "lost":
            self.session.reconnect(error)
            if self._is_finished(batch):
                return True
            self.losses += 1
            if self.losses % RECONNECTS_BEFORE_SPLIT:
                pieces.appendleft(piece)
                return False
            kind = "retry"  # this piece may be what breaks the connection
        if kind == "stop":
            self._fail(batch, error)
            raise error
        is_late = error.sqlstate == "57014"
        is_scan = is_late and piece.was_cut  # reading the range takes the time, not its rows
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
            pieces.appendleft(smaller[0])  # alone, because another row may have failed
        elif smaller and kind == "bad row":
            self._quarantine(batch, smaller[0], error)
        elif smaller:
            held.append(smaller[0].range_end)
        return False

    def piece(self, batch: Batch, piece: Piece, is_last: bool) -> State | None:
        """One transaction in one round trip; None if the batch is not ours or not open."""
        values = self._values(batch, piece)
        purpose = "compare" if self.order.compare_others else "change"
        names = self.order.named(purpose, (batch.table_name, batch.column_name))
        is_long = self.order.statement_timeout_ms is not None
        kept_alive = self.lease_kept_alive() if is_long else nullcontext()
        with kept_alive, self.session.connection.pipeline():
            self.session.begin(len(names) + 1)
            changed = [
                self.session.run(name, lease_token=self.shared.token, **values) for name in names
            ]
            finished = self.session.run(
                "run__finish_piece",
                batch_id=batch.batch_id,
                lease_token=self.shared.token,
                is_last=is_last,
                error_message=None,
            )
            self.session.connection.commit()
        row = finished.fetchone()
        held = row is not None and all(each.fetchone() is not None for each in changed)
        return State(*row) if row and held else None

    def _finish(self, batch: Batch, held: list[Key]) -> State | None:
        """Close a batch that its last piece left open: done, or with rows locked elsewhere."""
        message = (
            f"{len(held)} rows were locked by other sessions: "
            + ", ".join(",".join(key) for key in held[:5])
            if held
            else None
        )
        rows = self.session.rows("run__finish_piece", batch_id=batch.batch_id, is_last=True,
                                 lease_token=self.shared.token, error_message=message)  # fmt: skip
        if rows:
            return State(*rows[0])
        if self._is_finished(batch):  # by an earlier try whose answer was lost
            return None
        raise LeaseLost

    def cut(self, batch: Batch, piece: Piece, by_key: bool) -> list[Piece]:
        """Two smaller pieces, or one of a single row, or none if nothing is left to change."""
        if self.order.rules["by_unit"]:
            return [piece]
        if not by_key and piece.stripes < MAX_STRIPES:
            return list(halves(piece, 2))
        return self._by_key(batch, piece, 2)

    def _pieces(self, batch: Batch) -> list[Piece]:
        """The pieces that a batch starts with."""
        if self.order.rules["by_unit"]:
            return self._by_key(batch, _whole(batch), 1)
        if self.by_key and self.pieces > 1:
            return self._by_key(batch, _whole(batch), self.pieces)
        return list(halves(_whole(batch), self.pieces))

    def _by_key(self, batch: Batch, piece: Piece, count: int) -> list[Piece]:
        """Pieces with about the same number of rows to change; for one row or none see `cut`.

        By unit: a piece for each key.
        """
        (name,) = self.order.named("keys", (batch.table_name, batch.column_name))
        keys = [key for (key,) in self.session.rows(name, **self._values(batch, piece))]
        if len(keys) < 2 or self.order.rules["by_unit"]:
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
        (name,) = self.order.named("refuse", (batch.table_name, batch.column_name))
        self.session.rows(
            name,
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
        self.session.rows("run__finish_piece", batch_id=batch.batch_id, is_last=True,
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
                self._obey(requested)
                self.shared.wanted = wanted
            if self.stop.requested:
                raise Stopped("interrupted", f"by Ctrl-C or SIGTERM, waiting for {reason}")
            time.sleep(BRAKE_SECONDS)
            self.renew()
        if shown:
            self.session.rows("run__note_brake", **self.shared.hold, brake=None)

    def _adapt(self, seconds: float, target_ms: int) -> None:
        """Use more pieces if a batch takes twice the wanted time, fewer if it takes half of it.

        seconds: of the slowest piece of a batch. Each stripe reads its whole range. If reading
        takes most of the time, more stripes make a batch slower, so pieces are cut by key.
        """
        if seconds * 1000 > 2 * target_ms:
            before = self.took.get(self.pieces // 2)
            if before is not None and not self.by_key and seconds > CUT_PAYS_BELOW * before:
                self.by_key = True
            else:
                self.took[self.pieces] = seconds
                self.pieces = min(self.pieces * 2, MAX_STRIPES)
        elif seconds * 1000 < target_ms / 2 and self.pieces > 1:
            self.pieces //= 2
            self.by_key = self.by_key and self.pieces > 1

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
        """Claim the open batches of a range; one worker at a time, so no two claim the same."""
        self.renew()
        with self.shared.lock:
            (name,) = self.order.named("claim")
            claimed = [
                Batch(*row)
                for row in self.session.rows(
                    name,
                    **self.shared.hold,
                    lease_seconds=self.order.lease_seconds,
                    held_batches=sorted(self.shared.held),
                )
            ]
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

    def _values(self, batch: Batch, piece: Piece) -> dict[str, Any]:
        """Parameters of the statements of a batch."""
        place = (batch.table_name, batch.column_name)
        canonical_values = self.order.canonical_values.get(place)
        return {
            "batch_id": batch.batch_id,
            "hashed": batch.hashed,
            # the index of dirty rows has fewer rows than there are keys to look up
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
            of_place = {"table_name": place[0], "column_name": place[1]}
            rows = [
                row
                for name in self.order.named("values", place)
                for row in self.session.rows(name, run_id=self.order.run_id, **of_place)
            ]
            names = ("values_before", "values_after", "map_ids")
            arrays = map(array_text, zip(*rows, strict=True))  # a kind without values has none
            self.values = {place: dict(zip(names, arrays, strict=False))}
        return self.values[place]


def array_text(values: Sequence[str | int]) -> str:
    """An array as PostgreSQL writes it, made once per run (11 ms for 3,400 values)."""
    items = list(values)
    dumped = Transformer().get_dumper(items, PyFormat.TEXT).dump(items)
    return bytes(dumped or b"").decode()


def looks_up(dense: bool, piece: Piece) -> bool:
    """Whether a piece looks its keys up; a piece with all keys of a range reads the range."""
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
