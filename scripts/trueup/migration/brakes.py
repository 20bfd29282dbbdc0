"""The brakes of a run: sample the server's health during the run and say if it has to wait.

analyses/migration/brakes.sql has the named statements, dbt_project.yml the marks.
A brake comes on above its stop mark and goes off at its start mark or below. A value that cannot be
read makes the run wait, unless --allow-blind-brakes is given; it never counts as zero.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import psycopg

from trueup.core import config, connection
from trueup.core.errors import TrueupError, first_line
from trueup.core.settings import Settings
from trueup.core.statements import Statement
from trueup.show.terminal import bytes_text, duration

# The statement of a brake is brakes__<name>; its unit is the last word of the name.
NAMES = (
    "replica_bytes",
    "replica_seconds",
    "slot_bytes",
    "archiver_files",
    "vacuum_seconds",
    "blocked_ms",
    "snapshot_seconds",
)
APPLICATION = "trueup apply brakes"  # application_name; the statements skip our own sessions by it
SAMPLE_SECONDS = 0.5
BLIND_SECONDS = 5.0  # without an answer, after which all values are blind
RATE_SECONDS = 10.0  # window in which WAL per second is measured
# Short enough for an answer within BLIND_SECONDS even if every statement runs into them.
TIMEOUTS = {"lock_timeout": "200ms", "statement_timeout": "500ms", "transaction_timeout": "5s",
            "waits_for_disk": True, "by_keys": False}  # fmt: skip


class Mark(NamedTuple):
    """Above `stop` a run waits, at `start` or below it goes on."""

    stop: float
    start: float


class Sample(NamedTuple):
    """The result of a statement: a number, its state (seen, none, blind), and a text for people."""

    value: float | None
    state: str
    detail: str


@dataclass(frozen=True)
class Reading:
    """The current state of a brake; is_on: the run waits for it."""

    name: str
    mark: Mark
    sample: Sample
    is_on: bool

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.is_on:
            return f"{self.name}: {self.sample.detail}"
        if self.sample.state == "blind":
            return f"{self.name}: {self.sample.detail} (waits until it can be read)"
        stop, start = (amount(self.name, mark) for mark in self.mark)
        return f"{self.name}: {self.sample.detail} (waits above {stop}, goes on at {start} or less)"


@dataclass(frozen=True)
class Change:
    """A brake that came on or went off, with the reason as a line for people."""

    name: str
    is_on: bool
    reason: str


def marks(variables: Mapping[str, Any]) -> dict[str, Mark]:
    """The marks in the vars of dbt_project.yml by brake, without those that are switched off.

    Raises TrueupError for a brake that is unknown or missing, and for invalid marks.
    """
    migration = variables.get("migration")
    found = migration.get("brakes") if isinstance(migration, dict) else None
    if not isinstance(found, dict) or not set(NAMES) <= found.keys():
        raise config.wrong_variable("migration.brakes", found, f"a mark for each of {NAMES}")
    for name, mark in found.items():
        is_sound = isinstance(mark, dict) and mark.keys() == {"stop", "start"} and all(
            type(each) in (int, float) and math.isfinite(each) for each in mark.values()
        )  # fmt: skip
        is_sound = is_sound and 0 <= mark["start"] <= mark["stop"]
        if name not in NAMES or not (mark is None or is_sound):
            raise config.wrong_variable(
                f"migration.brakes.{name}", mark,
                f"null, or {{stop: number, start: number}} of one of {', '.join(NAMES)}; neither"
                " below 0, start not above stop",
            )  # fmt: skip
    return {name: Mark(**found[name]) for name in NAMES if found[name]}


def from_settings(
    settings: Settings,
    statements: Mapping[str, Statement],
    table_names: Iterable[str],
    *,
    allow_blind: bool = False,
    report: Callable[[Change], None] = lambda change: None,
) -> Brakes:
    """The brakes of a run on the configured server, with the marks of dbt_project.yml.

    statements: the run's, as its plan stored them. table_names: the tables it works on.
    """
    return Brakes(
        lambda: connection.connect(settings, writes=False, application_name=APPLICATION),
        statements,
        marks(config.project_variables(settings)),
        table_names,
        allow_blind=allow_blind,
        report=report,
    )


def amount(name: str, value: float) -> str:
    """A number in the unit of its brake: 64 MB, 10 s, 200 ms, 42 files."""
    unit = name.rpartition("_")[2]
    if unit == "bytes":
        return bytes_text(value)
    if unit in ("seconds", "ms"):
        return duration(value / (1000 if unit == "ms" else 1))
    return f"{value:.4g} {unit}"


class Brakes:
    """Watches a server from a separate thread and connection, until `close`.

    connect:     opens a connection that is not in autocommit mode
    statements:  brakes__<name>, wal_position and begin_batch
    allow_blind: a number that cannot be read does not stop the run
    report:      called once for every change, by the caller of `reason`, in its thread
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        statements: Mapping[str, Statement],
        marks: Mapping[str, Mark],
        table_names: Iterable[str],
        *,
        allow_blind: bool = False,
        report: Callable[[Change], None] = lambda change: None,
    ) -> None:
        self._connect = connect
        self._statements = statements
        self._marks = dict(marks)
        self._allow_blind = allow_blind
        self._report = report
        self._values: dict[str, Any] = {
            **TIMEOUTS,
            "table_names": list(table_names),
            "wal_bytes_before": None,
        }
        self._lock = threading.Lock()  # of all that follows
        self._readings: dict[str, Reading] = {}
        self._too_much: set[str] = set()  # above stop, and not yet down to start
        self._changes: deque[Change] = deque()
        self._is_silent = False  # as it was last reported
        self._error = "no answer yet"
        self._wal: deque[tuple[float, int]] = deque()
        self._role = ""
        self._heard = time.monotonic()  # when the server last answered
        self._first = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="brakes", daemon=True)
        self._thread.start()

    def __enter__(self) -> Brakes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def check(self) -> None:
        """Before a run: TrueupError if a brake cannot see, unless that is allowed."""
        silence = self._listen()
        with self._lock:
            blind = [each for each in self._readings.values() if each.sample.state == "blind"]
            role = self._role
        if self._allow_blind or not self._marks:
            return
        if silence:
            raise TrueupError(
                silence,
                "Fix that and try again, or run without these numbers: --allow-blind-brakes.",
            )
        if blind:
            raise TrueupError(
                "\n".join(f"{each.name}: {each.sample.detail}" for each in blind),
                f"`grant pg_monitor to {role}` shows it; with --allow-blind-brakes the run"
                " uses only the numbers that it can read.",
            )

    def reason(self) -> str | None:
        """The brakes that are on, in words; None if the run may go on.

        Waits only for the first sample, a few seconds at most. Calls `report` for each change since
        the last call; an error raised there is raised here.
        """
        silence = self._listen()
        with self._lock:
            on = [each.text for each in self._readings.values() if each.is_on]
        while True:
            try:
                self._report(self._changes.popleft())
            except IndexError:
                break
        if silence:  # earlier samples are out of date
            return None if self._allow_blind else silence
        return "; ".join(on) or None

    @property
    def wal_bytes(self) -> int | None:
        """Position of the server's log, in bytes ever written; None if not seen."""
        with self._lock:
            return self._wal[-1][1] if self._wal else None

    @property
    def wal_per_second(self) -> float | None:
        """Recent bytes of log per second of the whole server; None if not known yet."""
        with self._lock:
            if len(self._wal) < 2:
                return None
            (began, first), (ended, last) = self._wal[0], self._wal[-1]
        return (last - first) / (ended - began)

    def close(self) -> None:
        """Stop watching. A running statement or connection attempt ends by itself."""
        self._closing.set()
        self._thread.join(timeout=1)

    # ------------------------------------------------------------------------------- the state

    def _listen(self) -> str | None:
        """The reason if there was no sample for too long, else None; records the change."""
        self._first.wait(max(self._heard + BLIND_SECONDS - time.monotonic(), 0))
        with self._lock:
            if not self._marks:
                return None
            seconds = time.monotonic() - self._heard
            silence = None
            if seconds > BLIND_SECONDS or not self._first.is_set():
                blind = duration(round(seconds))
                silence = f"the brakes have seen nothing for {blind}: {self._error}"
            if bool(silence) != self._is_silent and not self._allow_blind:
                reason = silence or "the brakes can be read again"
                self._changes.append(Change("brakes", bool(silence), reason))
            self._is_silent = bool(silence)
            return silence

    def _take(self, samples: Mapping[str, Sample]) -> None:
        """Update the readings from samples, and record changes; holds the lock."""
        for name, sample in samples.items():
            mark = self._marks[name]
            if sample.value is None or sample.value <= mark.start:
                self._too_much.discard(name)
            elif sample.value > mark.stop:
                self._too_much.add(name)
            is_blind = sample.state == "blind" and not self._allow_blind
            reading = Reading(name, mark, sample, name in self._too_much or is_blind)
            before = self._readings.get(name)
            if reading.is_on != (before is not None and before.is_on):
                self._changes.append(Change(name, reading.is_on, reading.text))
            self._readings[name] = reading

    def _note(self, now: float, wal_bytes: int | None) -> None:
        """Record the position of the log; holds the lock."""
        if wal_bytes is None:
            return
        if self._values["wal_bytes_before"] is None:
            self._values["wal_bytes_before"] = wal_bytes
        self._wal.append((now, wal_bytes))
        while now - self._wal[0][0] > RATE_SECONDS:
            self._wal.popleft()

    # ----------------------------------------------------------------------------- the sampling

    def _watch(self) -> None:
        connected: psycopg.Connection[Any] | None = None
        while not self._closing.is_set():
            try:
                if connected is None or connected.closed:
                    connected = self._connect()
                self._look(connected)
            except Exception as error:  # whatever it is, the run hears of it and waits
                with self._lock:
                    self._error = _words(error)
            self._closing.wait(SAMPLE_SECONDS)
        if connected is not None:
            connected.close()

    def _look(self, connected: psycopg.Connection[Any]) -> None:
        """One statement after the other: one that fails is blind, the others are not."""
        samples = {name: self._ask(connected, name) for name in self._marks}
        try:
            position = self._run(connected, "wal_position").fetchone()
        except psycopg.Error:
            connected.rollback()
            position = None
        with self._lock:
            now = time.monotonic()
            self._take(samples)
            self._heard = now
            if position is not None:
                wal_bytes, self._role = position
                self._note(now, wal_bytes)
        self._first.set()

    def _ask(self, connected: psycopg.Connection[Any], name: str) -> Sample:
        try:
            return _sample(self._run(connected, name))
        except psycopg.Error as error:
            if connected.closed:
                raise
            connected.rollback()
            return Sample(None, "blind", first_line(error))

    def _run(self, connected: psycopg.Connection[Any], name: str) -> psycopg.Cursor[Any]:
        """A brake's statement in a transaction of its own, in one round trip."""
        with connected.pipeline():
            for each in ("run__begin_batch", f"brakes__{name}"):
                rows = self._statements[each].run_with(connected, self._values)
            connected.commit()
        return rows


def _sample(rows: psycopg.Cursor[Any]) -> Sample:
    """A statement without a row, or with an invalid number, is blind."""
    row = rows.fetchone()
    if row is None:
        return Sample(None, "blind", "the statement returned no row")
    sample = Sample(*row)
    if sample.state == "seen" and sample.value is None:
        return sample._replace(state="blind")
    return sample


def _words(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, psycopg.Error):
        return first_line(error)
    return error.message if isinstance(error, TrueupError) else f"{type(error).__name__}: {error}"
