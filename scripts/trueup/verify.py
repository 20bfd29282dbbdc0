"""`trueup verify`: the checks of a finished run, read in one snapshot. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import IsolationLevel

from trueup import compiled, ledger, prune, runs
from trueup.compiled import Statement, column_statement
from trueup.connection import Connection
from trueup.errors import TrueupError
from trueup.settings import Settings
from trueup.worker import MIGRATE

PASS, WARN, FAIL, ERROR = "pass", "warn", "fail", "error"
ORDER = (PASS, WARN, FAIL, ERROR)  # the worst of several decides

# id → (name, what it says when nothing is wrong, what to do otherwise)
CHECKS = {
    "batch_tracking": (
        "Batch Tracking",
        "All batches completed successfully",
        "`select * from stage_migration_failures` names the reasons, `trueup resume` tries again",
    ),
    "canonical_values": (
        "Canonical Values",
        "Every value is canonical",
        "decide the values with `trueup alias add`, then `dbt build` and `trueup plan`",
    ),
    "null_integrity": (
        "NULL Integrity",
        "No value became NULL or blank",
        "look at the rows: trueup never writes NULL, so somebody else did",
    ),
    "row_counts": (
        "Row Counts",
        "As many rows as there were",
        "trueup neither inserts nor deletes: ask who does",
    ),
    "audit_consistency": (
        "Audit Consistency",
        "Audit, counters and rows agree",
        "rows changed since are listed; where counters differ, somebody changed the ledger",
    ),
}


@dataclass
class Check:
    """A check and what it found: the worst status of its parts, and what was wrong."""

    id: str
    status: str = PASS
    expected: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    offenders: list[str] = field(default_factory=list)
    duration_ms: float = 0.0

    @property
    def name(self) -> str:
        """For people."""
        return CHECKS[self.id][0]

    @property
    def message(self) -> str:
        """One sentence."""
        if self.status == PASS:
            return CHECKS[self.id][1]
        return self.offenders[0] if self.offenders else "; ".join(self.actual)

    @property
    def recommendation(self) -> str:
        """What to do where it is not met."""
        return CHECKS[self.id][2]


@dataclass(frozen=True)
class Verification:
    """The checks of one run."""

    run: runs.Run
    checks: list[Check]

    def failed(self, strict: bool = False) -> bool:
        """Whether a check failed or could not be read; strict: or warned."""
        return self.count(FAIL, ERROR, *([WARN] if strict else [])) > 0

    def count(self, *statuses: str) -> int:
        """Checks in one of these statuses."""
        return sum(check.status in statuses for check in self.checks)


def run(settings: Settings, connected: Connection, wanted: str | None) -> Verification:
    """Verify a run, or the newest migration that was begun.

    The connection must not be in autocommit mode.
    Raises TrueupError where there is no ledger or no such run.
    """
    schema = ledger.schema(settings)
    ledger.check(connected, schema, settings)
    found = compiled.statements(settings)
    connected.rollback()
    connected.read_only = True
    connected.isolation_level = IsolationLevel.REPEATABLE_READ
    found["begin_reading"].run(connected)
    target = runs.find(connected, schema, wanted, (*runs.UNFINISHED, "completed"), kind=MIGRATE)
    if prune.is_pruned(connected, schema, target.run_id):
        raise TrueupError(
            f"run {target.short_id} cannot be verified any more: `trueup ledger prune` has removed"
            " the counts from before it",
            "Its changes are in `stage_normalization_log` as before.",
        )
    # what a rollback brings back is what there was, canonical or not
    checks = {
        name: Check(name) for name in CHECKS if target.kind == MIGRATE or name != "canonical_values"
    }
    one = {"run_id": target.run_id}
    bounds = {
        (table, column): bound
        for table, column, bound in found["run_columns"].run(connected, **one)
    }
    _read(checks, connected, found, "verify_batch_tracking", ["batch_tracking"], **one)
    _read(checks, connected, found, "verify_audit_consistency", ["audit_consistency"], **one)
    for table, column in found["verify_places"].run(connected, **one).fetchall():
        bound = bounds.get((table, column))
        _read(
            checks,
            connected,
            found,
            column_statement("verify_values", table, column),
            ["canonical_values", "null_integrity", "row_counts"],
            **one,
            tenants=target.options["tenants"],
            range_end=bound,
        )
        if bound is not None:
            _read(checks, connected, found, column_statement("verify_changes", table, column),
                  ["audit_consistency", "null_integrity"], **one)  # fmt: skip
    connected.rollback()
    return Verification(target, list(checks.values()))


def as_dict(found: Verification) -> dict[str, Any]:
    """For machines."""
    return {
        "run_id": str(found.run.run_id),
        "summary": {
            "totalChecks": len(found.checks),
            "passed": found.count(PASS),
            "failed": found.count(FAIL, ERROR),
            "warnings": found.count(WARN),
        },
        "checks": [
            {
                "id": check.id,
                "name": check.name,
                "status": check.status,
                "message": check.message,
                "expected": check.expected,
                "actual": check.actual,
                "offenders": check.offenders,
                "duration_ms": round(check.duration_ms, 1),
            }
            for check in found.checks
        ],
        "recommendations": [
            f"{check.name}: {check.recommendation}"
            for check in found.checks
            if check.status != PASS
        ],
    }


def _read(
    checks: dict[str, Check],
    connected: Connection,
    found: Mapping[str, Statement],
    statement: str,
    ids: list[str],
    **values: Any,
) -> None:
    """Run one statement and add what it found; one that fails or is gone is an error, no pass."""
    started = time.monotonic()
    try:
        with connected.transaction():
            rows = found[statement].run(connected, **values).fetchall()
    except (psycopg.Error, KeyError) as error:
        known = isinstance(error, psycopg.Error)
        text = f"{statement}: {error if known else 'its column is not managed any more'}"
        rows = [(name, ERROR, "the check can be read", text, [text]) for name in ids]
    milliseconds = (time.monotonic() - started) * 1000
    for name, status, expected, actual, offenders in rows:
        if name not in checks:
            continue
        check = checks[name]
        check.status = max(check.status, status, key=ORDER.index)
        check.expected.append(expected)
        check.actual.append(actual)
        check.offenders += offenders
        check.duration_ms += milliseconds / len(rows)
