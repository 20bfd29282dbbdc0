"""The judgements in a run's report: the verdict, the counters, the sign-off list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trueup.core import runs
from trueup.core.runs import ROLLBACK
from trueup.findings import Finding
from trueup.findings import failed as has_failed
from trueup.migration.report_records import (
    FAILED,
    MET,
    NOT_MET,
    OPEN,
    PASSED,
    Audit,
    Column,
    ServerWork,
    SignOff,
    Updates,
    Verdict,
)
from trueup.show.terminal import counted

UNMET = ("fail", "error")  # statuses of a check
STANDBYS = "server__standby_"  # how codes of findings about standbys begin
UNJUDGED = {"server__standby_unseen", "server__standby_unlimited"}


def verdict(
    kind: str,
    status: str,
    totals: Mapping[str, int],
    conflicts: int,
    checks: Mapping[str, Any],
) -> Verdict:
    """How the run ended, in one sentence; passed only if verification passed, too."""
    back = kind == ROLLBACK
    done = "restored" if back else "changed"
    promised = "restorable" if back else "promised"
    planned, updated = totals["rows_planned"], totals["rows_updated"]
    verb = "was" if updated == 1 else "were"
    part = f"{updated:,} of {counted(planned, f'{promised} row')} {verb} {done}"
    if status == "completed":
        if not planned and not updated:
            sentence = f"Nothing was to be {done}"
        elif updated == planned:
            sentence = f"{counted(updated, 'row')} {verb} {done}, as many as the plan promised"
        elif updated < planned:
            sentence = f"{part}; the other rows had already changed since the plan was made"
        else:
            more = updated - planned
            sentence = (
                f"{counted(updated, 'row')} {verb} {done}: {planned:,} as promised, and"
                f" {more:,} written since the plan"
            )
        if conflicts:
            sentence += f"; {counted(conflicts, 'row')} edited or deleted since left alone"
    elif status == "completed_with_failures":
        reasons = [
            f"{counted(number, what)} {fate}"
            for number, what, fate in (
                (totals["rows_failed"], "row", "refused by the database"),
                (totals["batches_failed"], "batch", "failed"),
            )
            if number
        ]
        sentence = "; ".join([part, ", ".join(reasons) or "some were missed"])
    else:
        left = totals["batches"] - totals["batches_completed"]
        sentence = f"The run is {status}: {part}, {counted(left, 'batch')} not done"
    if checks["status"] == FAILED:
        names = ", ".join(check["name"] for check in checks["checks"] if check["status"] in UNMET)
        sentence += f"; verification failed: {names}"
    state = OPEN
    if status == "completed_with_failures" or checks["status"] == FAILED:
        state = FAILED
    elif status == "completed" and checks["status"] == PASSED:
        state = PASSED
    return Verdict(state, sentence)


def server_work(columns: Iterable[Column]) -> ServerWork:
    """The counters of all columns: each table once, and the log once.

    Columns of one table were counted together, and the log is one for the whole server. Counters
    that fell were reset meanwhile, and are not recorded then.
    """
    counters: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    log: list[tuple[int, int]] = []
    for column in columns:
        measured = column.measured if isinstance(column.measured, dict) else {}
        before, after = measured.get("before"), measured.get("after")
        if not isinstance(before, dict) or not isinstance(after, dict):
            continue
        counters.setdefault(column.table_name, (before, after))
        ends = _number(before.get("wal_bytes")), _number(after.get("wal_bytes"))
        if ends[0] is not None and ends[1] is not None:
            log.append((int(ends[0]), int(ends[1])))
    found = []
    for table, (before, after) in counters.items():
        updates, hot = (_grown(before, after, name) for name in ("n_tup_upd", "n_tup_hot_upd"))
        if updates and hot is not None:
            found.append(Updates(table, updates, hot))
    written = max(end for _, end in log) - min(start for start, _ in log) if log else -1
    return ServerWork(found, written if written >= 0 else None)


def standbys(findings: Iterable[Finding]) -> tuple[str, str]:
    """Whether standbys have caught up, as far as it can be seen now: state and evidence.

    The marks of the brakes decide; if these are switched off, or nothing was read, a person must.
    """
    found = [each for each in findings if each.code.startswith(STANDBYS)]
    text = "; ".join(each.message for each in found) + " when this report was made"
    if not found or UNJUDGED & {each.code for each in found}:
        return OPEN, text
    return (NOT_MET if has_failed(found, is_strict=True) else MET), text


def sign_off(
    run: runs.Run,
    totals: Mapping[str, int],
    audit: Audit,
    checks: Mapping[str, Any],
    sample: int,
    standbys: tuple[str, str],
) -> list[SignOff]:
    """The list at the end: facts of the ledger are filled in, the rest is for a person."""
    batches, done = totals["batches"], totals["batches_completed"]
    refused = totals["rows_failed"]
    evidence = f"{done:,} of {counted(batches, 'batch')} completed"
    evidence += f", {totals['batches_failed']:,} failed"
    evidence += f"; {counted(refused, 'row')} in quarantine" if refused else ""
    complete = done == batches and not refused
    agrees = audit.rows_audited == audit.rows_counted
    kept = (
        f"{counted(batches, 'batch')}, {counted(audit.rows_audited, 'audited row')} in the ledger"
        + ("" if agrees else f", but batches counted {audit.rows_counted:,}")
    )
    sample_text = f"{counted(sample, 'changed row')} to read above" if sample else "no changed row"
    return [
        SignOff(
            "plan_reviewed", "Plan reviewed", OPEN,
            f"{counted(totals['rows_planned'], 'row')} promised by plan {run.plan_sha256[:12]},"
            f" made {run.planned_at:%Y-%m-%d %H:%M %Z} by {run.operator}",
        ),
        SignOff("no_failed_batch", "No failed batch", MET if complete else NOT_MET, evidence),
        SignOff(
            "verification_passed", "Verification passed",
            {PASSED: MET, FAILED: NOT_MET}.get(checks["status"], OPEN),
            checks["summary_text"],
        ),
        SignOff("sample_read", "Sample read", OPEN, sample_text),
        SignOff(
            "application_spot_checked", "Application spot-checked", OPEN,
            "a few of these rows, checked in the application itself",
        ),
        SignOff("replica_lag_normal", "Replica lag back to normal", *standbys),
        SignOff("report_archived", "Report archived", OPEN, "this file, in your archive"),
        SignOff(
            "tracking_kept", "Tracking and audit kept", MET if agrees else NOT_MET, kept
        ),
    ]  # fmt: skip


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _grown(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> int | None:
    """How much a counter has grown; None if it is missing, or fell."""
    first, last = _number(before.get(name)), _number(after.get(name))
    return None if first is None or last is None or last < first else int(last - first)
