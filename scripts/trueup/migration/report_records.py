"""The records of a run's report, in the order of the document; see report.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

PASSED, FAILED, OPEN = "passed", "failed", "open"
MET, NOT_MET = "met", "not met"

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A managed column of the run. row_total, null_total, blank_total: None if not counted.

    rows_left: rows whose value the plan left alone, without NULL and blank
    measured:  counters of the server, {"before": {...}, "after": {...}}; None if not recorded
    """

    table_name: str
    column_name: str
    status: str
    notes: str | None
    brake: str | None
    target_ms: int
    sleep_ms: int
    workers: int
    measured: dict[str, Any] | None
    row_total: int | None
    null_total: int | None
    blank_total: int | None
    stripes: int | None
    rows_planned: int
    rows_updated: int
    rows_failed: int
    rows_left: int
    spellings: int
    batches: int
    batches_completed: int
    batches_failed: int
    batches_cancelled: int

    @property
    def name(self) -> str:
        """table.column"""
        return f"{self.table_name}.{self.column_name}"


@dataclass(frozen=True)
class Durations:
    """Durations of completed batches in milliseconds; other fields cover failed batches, too.

    worked_seconds: without breaks in which the run was stopped. None if there is no such batch.
    """

    batches: int
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None
    worked_seconds: float | None
    break_seconds: float | None
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True)
class Listed:
    """A number of rows, with the first of them in full."""

    total: int
    rows: list[Row]


@dataclass(frozen=True)
class Audit:
    """Counts of the audit and of the batches.

    rows_others_changed: rows whose other columns changed too; None if not compared
    """

    entries: int
    rows_audited: int
    rows_counted: int
    rows_others_changed: int | None


@dataclass(frozen=True)
class Updates:
    """All updates of a table between the run's start and end, by any session."""

    table_name: str
    updates: int
    hot_updates: int


@dataclass(frozen=True)
class ServerWork:
    """The server's counters; a table without counters is left out, then wal_bytes is None."""

    tables: list[Updates]
    wal_bytes: int | None


@dataclass(frozen=True)
class Verdict:
    """passed, failed or open, in one sentence."""

    state: str
    sentence: str


@dataclass(frozen=True)
class SignOff:
    """A line of the list at the end: met, not met, or open for a person; with its evidence."""

    id: str
    title: str
    state: str
    evidence: str


@dataclass(frozen=True)
class Report:
    """Everything, in the order of the document. A Row is one of the statement report__<name>.

    tenant_label: the word for a tenant
    tenants: a tenant's row_total, rows_empty, rows_planned and rows_left are None if not counted
    points:  batches by the seconds of work until they ended
    """

    made_at: datetime
    tenant_label: str
    trueup_version: str
    verdict: Verdict
    run: dict[str, Any]
    database: dict[str, Any]
    totals: dict[str, int]
    columns: list[Column]
    targets: list[Row]
    values: list[Row]
    tenants: list[Row]
    durations: Durations
    points: list[Row]
    rates: list[Row]
    server_work: ServerWork
    predictions: list[Row]
    quarantine: Listed
    failures: Listed
    conflicts: Listed
    audit: Audit
    sample: list[Row]
    verification: dict[str, Any]
    sign_off: list[SignOff]

    @property
    def is_rollback(self) -> bool:
        """Whether it rolls back another run."""
        return bool(self.run["restores"])
