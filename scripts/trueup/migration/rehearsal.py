"""`trueup plan --rehearse` and `apply --dry-run`: try one batch, and estimate the whole run.

`tried_batch` runs the batch with the most rows as `trueup apply` would, and rolls it back. The
statement `rehearsal__predict` estimates the run from the cost of that batch.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from psycopg.types.json import Jsonb

from trueup.core import records, statements
from trueup.core.connection import Connection
from trueup.core.settings import Settings
from trueup.migration import plan, tried_batch
from trueup.migration.tried_batch import Job, Refusal, Tryout

# of a tried batch, for rehearsal__predict
COSTS = ("rows_changed", "duration_ms", "wal_bytes", "wal_records", "page_images")


@dataclass(frozen=True)
class ColumnRehearsal:
    """One column. prediction: the row of rehearsal__predict; None if no row could be changed."""

    table_name: str
    column_name: str
    tryout: Tryout
    prediction: dict[str, Any] | None


@dataclass(frozen=True)
class Rehearsal:
    """Every column that has rows to change."""

    rehearsed_at: datetime
    columns: list[ColumnRehearsal]

    @property
    def refusals(self) -> list[Refusal]:
        """Errors that would keep the run from changing every planned row."""
        return [refusal for column in self.columns for refusal in column.tryout.refusals]


def rehearse(
    settings: Settings,
    connected: Connection,
    made: plan.Plan,
    pace: plan.Pace,
    progress: plan.Progress = lambda what, done, total: None,
    is_kept: bool = True,
) -> Rehearsal:
    """Try one batch of each column that has rows to change, and estimate the cost of the run.

    is_kept: the plan is in the ledger, and the rehearsal is stored with it
    The connection must not be in autocommit mode.
    """
    found = statements.statements(settings)
    columns: list[ColumnRehearsal] = []
    dirty = [column for column in made.columns if column.fullest]
    for number, column in enumerate(dirty):
        place = (column.table_name, column.column_name)
        progress(".".join(place), number, len(dirty))
        job = Job(
            connected=connected,
            found=found,
            column=column,
            facts=made.facts[place],
            tenants=made.options["tenants"],
            by_tenant=pace.by_tenant,
            lock_timeout_ms=plan.defaults(settings)["lock_timeout_ms"],
        )
        tried = tried_batch.try_out(job)
        predicted = _predict(job, pace, tried)
        columns.append(ColumnRehearsal(*place, tried, predicted))
    rehearsed = Rehearsal(datetime.now(timezone.utc), columns)
    if is_kept:
        text = json.dumps(as_dict(rehearsed), ensure_ascii=False)
        found["rehearsal__store"].run(connected, run_id=made.run_id, rehearsal=text)
        connected.commit()
    return rehearsed


def as_dict(rehearsed: Rehearsal) -> dict[str, Any]:
    """The document of migration_runs.rehearsal and of `--format json`.

    {rehearsed_at, columns: [{table_name, column_name, tryout, prediction}]}, with the fields of
    Tryout and the columns of rehearsal__predict, which may be null.
    """
    return {
        "rehearsed_at": rehearsed.rehearsed_at.isoformat(timespec="seconds"),
        "columns": [dataclasses.asdict(column) for column in rehearsed.columns],
    }


def _predict(job: Job, pace: plan.Pace, tried: Tryout) -> dict[str, Any] | None:
    if not tried.rows_changed:
        return None
    figures = {
        "rows_planned": job.column.rows_planned,
        "rows_read": int(job.batch["rows_read"]),
        "batches": job.column.batches,
        "batch_size": pace.batch_size,
        "is_hot_possible": job.facts["is_hot_possible"],
        "sleep_ms": pace.sleep_ms,
        "workers": pace.workers,
        "batch_rows": tried.rows_planned,
        **{name: getattr(tried, name) for name in COSTS},
    }
    (row,) = records.rows(
        job.connected, job.found["rehearsal__predict"],
        relation=job.facts["qualified"], tried=Jsonb(figures),
    )  # fmt: skip
    job.connected.rollback()
    return row
