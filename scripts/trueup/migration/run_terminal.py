"""Plans and runs on the terminal: tables, log lines, a progress bar."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trueup import findings
from trueup.core import records
from trueup.migration import rehearsal
from trueup.migration.engine import Event, Left, Outcome
from trueup.migration.plan import ColumnPlan, Plan, Value
from trueup.migration.runner import Place
from trueup.show.terminal import (
    BAR,
    bytes_text,
    console,
    counted,
    new_table,
    percent,
    show_finding,
    visible,
)

SHOWN = 8  # values, tenants per table
WHOLE = 1000  # characters of a value where all are shown
WAYS = {
    "unknown": "unknown {}(s)",
    "ambiguous": "ambiguous {}(s)",
    "out_of_scope": "value(s) out of scope",
    "broader": "narrower term(s) that are not accepted",
}

Report = Callable[[Event], None]


def show_plan(out: Console, plan: Plan, limit: int | None = SHOWN) -> None:
    """Per column the value changes, then the values that stay, then the warnings.

    limit: tenants per column; None = all of them, and every spelling.
    """
    for column in plan.columns:
        out.print(
            f"[bold]{escape(column.table_name)}.{escape(column.column_name)}[/]: "
            f"{column.rows_planned:,} of {column.rows:,} rows will change"
            f" ({percent(column.rows_planned, column.rows)}), in {counted(column.batches, 'batch')}"
        )
        if column.rows_planned:
            _show_changes(out, column, limit)
        _show_left(out, column, limit)
        if column.batches:
            stripes = f"{column.stripes} stripes" if column.stripes > 1 else "contiguous batches"
            out.print(f"  [dim]{stripes}: {escape(column.why)}[/]", soft_wrap=True)
        out.print()
    warnings = [each for each in plan.findings if each.status != findings.OK]
    for finding in warnings:
        show_finding(out, vars(finding))
    if warnings:
        out.print()


def plan_lines(plan: Plan) -> Iterator[Event]:
    """The same as log lines."""
    yield Event("plan_started", "Creating batch plans...")
    yield Event("plan_created", f"Created {plan.batches} batch plans")
    yield Event("plan_recorded", "Recording batch plans in stage_migration_batches...")
    vocabularies = dict.fromkeys(column.vocabulary for column in plan.columns)
    for (match_type, words), vocabulary in itertools.product(WAYS.items(), vocabularies):
        columns = [column for column in plan.columns if column.vocabulary == vocabulary]
        values = [value for column in columns for value in column.left(match_type)]
        names = list(dict.fromkeys(visible(value.before) for value in values))
        if names:
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            listed = f"{words.format(vocabulary)}: {', '.join(names[:20])}"
            yield Event(
                "values_left", f"Found {len(names)} {listed}{more}", "warn",
                {"matchType": match_type, "vocabulary": vocabulary, "values": len(names)},
            )  # fmt: skip


def plan_json(plan: Plan, rehearsed: rehearsal.Rehearsal | None = None) -> str:
    """The plan for machines; with its rehearsal, if there is one."""
    by_tenant: dict[tuple[str, str], dict[str | None, list[dict[str, Any]]]] = {}
    for column in plan.columns:
        tenants = by_tenant.setdefault((column.table_name, column.column_name), {})
        for value in column.tenant_values:
            tenants.setdefault(value.tenant, []).append(
                {"before": value.before, "after": value.after, "rows": value.rows}
            )
    found = {
        "run_id": str(plan.run_id),
        "plan_sha256": plan.plan_sha256,
        "rows_planned": plan.rows_planned,
        "batches": plan.batches,
        "columns": [
            {
                "table_name": column.table_name,
                "column_name": column.column_name,
                "rows": column.rows,
                "rows_planned": column.rows_planned,
                "batches": column.batches,
                "stripes": column.stripes,
                "hashed": column.hashed,
                "why": column.why,
                "values": [vars(value) for value in column.values],
                "tenants": [
                    {
                        "tenant": tenant,
                        "rows_planned": rows,
                        "values": by_tenant[column.table_name, column.column_name][tenant],
                    }
                    for tenant, rows in column.tenants.items()
                ],
                "examples": [vars(example) for example in column.examples],
            }
            for column in plan.columns
        ],
        "findings": [vars(finding) for finding in plan.findings],
        **({"rehearsal": rehearsal.as_dict(rehearsed)} if rehearsed else {}),
    }
    return records.as_json(found)


def show_outcome(out: Console, outcome: Outcome, run: str) -> None:
    """How a run ended: counts, remaining rows, next step."""
    totals = outcome.totals
    table = new_table("batches", "done", "failed", "rows updated", "skipped", "failed", "seconds",
                      right=range(7))  # fmt: skip
    table.add_row(
        f"{totals['total_batches']:,}",
        f"{totals['completed_batches']:,}",
        f"{totals['failed_batches']:,}",
        f"{totals['rows_updated']:,}",
        f"{totals['rows_skipped']:,}",
        f"{totals['rows_failed']:,}",
        f"{outcome.seconds:.1f}",
    )
    out.print(table)
    words = outcome.record["words"]
    done = words["done"]
    _show_lefts(out, f"were not {done} although the plan promised it", outcome.missed)
    _show_lefts(out, "were written since the plan and are not canonical", outcome.late)
    sentences = {
        "completed": f"Run {run} is completed: every promised row was {done}.",
        "completed_with_failures": f"Run {run} is over, and promised rows were not {done}.\n"
        "`stage_migration_failures` and `migration_quarantine` have the reasons. "
        f"`trueup resume {run}` tries failed batches again; quarantined rows are for"
        f" {words['again']}.",
        "paused": f"Run {run} is paused; `trueup resume {run}` goes on.",
        "interrupted": f"Run {run} is interrupted {outcome.notes};"
        f" nothing is half done. `trueup resume {run}` goes on.",
        "cancelled": f"Run {run} is cancelled; what was done stays done.",
        "failed": f"Run {run} failed: {outcome.notes}\n"
        f"`trueup resume {run}` continues where it stopped.",
    }
    out.print(sentences[outcome.status], soft_wrap=True, markup=False)
    if outcome.audit_digest:
        kept = "Keep it: `trueup verify` and `trueup report` show it again."
        out.print(f"Audit digest: {outcome.audit_digest}\n{kept}", soft_wrap=True, markup=False)


def show_runs(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The newest runs, one line each."""
    table = new_table("run", "kind", "status", "planned at", "by", "rows planned", "updated",
                      "failed", right=(5, 6, 7))  # fmt: skip
    for row in rows:
        table.add_row(
            str(row["run_id"])[:8],
            escape(row["kind"]),
            escape(row["status"]),
            f"{row['planned_at']:%Y-%m-%d %H:%M}",
            escape(row["operator"]),
            f"{row['rows_planned']:,}",
            f"{row['rows_updated']:,}",
            f"{row['rows_failed']:,}",
        )
    out.print(table)


def show_status(
    out: Console, found: Mapping[str, Any], controls: Sequence[Mapping[str, Any]]
) -> None:
    """The progress view and the control rows of one run."""
    share = float(found["completion_percent"] or 0) / 100
    filled = int(share * BAR)
    out.print(
        f"run {str(found['run_id'])[:8]}  {found['status']}  "
        f"{'█' * filled}{'░' * (BAR - filled)} {found['completion_percent']} %{_remaining(found)}"
    )
    table = new_table("batches", "pending", "running", "done", "failed", "rows planned", "updated",
                      "skipped", "failed", right=range(9))  # fmt: skip
    names = ("total_batches", "pending_batches", "running_batches", "completed_batches",
             "failed_batches", "rows_planned", "rows_updated", "rows_skipped",
             "rows_failed")  # fmt: skip
    table.add_row(*(f"{found[name]:,}" for name in names))
    out.print(table)
    for control in controls:
        where = f"{control['table_name']}.{control['column_name']}"
        holder = f", held by {control['lease_owner']}" if control["lease_owner"] else ""
        if holder and not control["is_held"]:
            since = f"{control['lease_until']:%Y-%m-%d %H:%M:%S}"
            holder += f", no heartbeat since {since}; `trueup resume` continues"
        asked = (
            f", asked to be {control['requested_status']}" if control["requested_status"] else ""
        )
        last = f", up to key {control['last_id']}" if control["last_id"] else ""
        waits = f", waits for {control['brake']}" if control["brake"] else ""
        line = f"  {where}: {control['status']}{last}{holder}{asked}{waits}"
        out.print(line, markup=False, soft_wrap=True)


@contextmanager
def reporter(
    form: str, verbose: bool, places: Sequence[Place], run_id: uuid.UUID
) -> Iterator[Report]:
    """How the events of a run are shown: as lines, as JSON lines, or as bars on a terminal."""
    if form == "json":
        yield lambda event: _line(event, as_json(event, run_id))
    elif sys.stderr.isatty() and not verbose:
        with bars(places) as report:
            yield report
    else:
        yield lambda event: _line(event, as_line(event))


def _line(event: Event, text: str) -> None:
    if event.level != "debug":
        click.echo(text)


def as_line(event: Event) -> str:
    """An event as a line of the log, in the classic form."""
    data = f" {json.dumps(event.data, separators=(',', ':'))}" if event.data else ""
    return f"[{event.level.upper()}] {event.message}{data}"


def as_json(event: Event, run_id: uuid.UUID) -> str:
    """An event as a line of JSON; every line has the id of the run."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    head = {"time": now, "level": event.level, "event": event.kind, "runId": str(run_id),
            "message": event.message}  # fmt: skip
    return records.as_json({**head, **event.data}, indent=None)


def completed(outcome: Outcome) -> Event:
    """The last line of a run."""
    totals = outcome.totals
    what = outcome.record["words"]["title"]
    return Event(
        "run_ended",
        f"{what} {outcome.status.replace('_', ' ')}",
        "info" if outcome.status in ("completed", "paused") else "error",
        {
            "totalBatches": totals["total_batches"],
            "completedBatches": totals["completed_batches"],
            "failedBatches": totals["failed_batches"],
            "totalRowsUpdated": totals["rows_updated"],
            "totalRowsSkipped": totals["rows_skipped"],
            "totalRowsFailed": totals["rows_failed"],
            "durationSeconds": round(outcome.seconds, 1),
            **({"auditDigest": outcome.audit_digest} if outcome.audit_digest else {}),
        },
    )


def verdict(outcome: Outcome) -> Event:
    """The same for machines, with the text for people below it."""
    last = completed(outcome)
    lefts = {
        name: [
            {"tableName": each.table_name, "columnName": each.column_name, "value": each.value,
             "rows": each.rows}
            for each in found
        ]
        for name, found in (("missed", outcome.missed), ("late", outcome.late))
    }  # fmt: skip
    head = {"status": outcome.status, "notes": outcome.notes}
    return dataclasses.replace(last, data={**head, **last.data, **lefts})


@contextmanager
def bars(places: Sequence[Place]) -> Iterator[Report]:
    """A progress bar per column on stderr, and lines for problems; only lines without a
    terminal. Behind the bar of a column: rows, rows and log per second, what the run waits for.
    """
    columns = (
        TextColumn("{task.fields[place]}"),
        BarColumn(BAR),
        TextColumn("{task.completed}/{task.total} batches"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    quiet = not sys.stderr.isatty()
    with Progress(
        *columns, console=console(stderr=True), transient=True, disable=quiet
    ) as progress:
        tasks = {
            f"{each.table_name}.{each.column_name}": progress.add_task(
                "", total=each.batches, completed=each.done, start=False,
                place=escape(f"{each.table_name}.{each.column_name}"),
            )
            for each in places
            if each.batches
        }  # fmt: skip
        rows = dict.fromkeys(tasks, 0)
        began: dict[str, float] = {}
        last = time.monotonic()  # when a batch ended: the first of a column begins there
        current = next(iter(tasks), "")
        log = ""

        def say(words: str) -> None:
            if current in tasks:
                progress.update(tasks[current], description=words)

        def speed() -> str:
            seconds = max(time.monotonic() - began.get(current, 0.0), 0.001)
            return f"{rows[current]:,} rows, {rows[current] / seconds:,.0f}/s{log}"

        def report(event: Event) -> None:
            nonlocal current, last, log
            if event.place in tasks:
                current = event.place
                if current not in began:
                    began[current] = last
                    progress.start_task(tasks[current])
                last = time.monotonic()
                rows[current] += event.data.get("rowsUpdated", 0)
                progress.update(tasks[current], advance=1, description=speed())
            elif event.kind == "pulse" and event.data["walPerSecond"] is not None:
                log = f", log {bytes_text(event.data['walPerSecond'])}/s"
            elif event.kind in ("second_look", "brake_on"):
                say(escape(event.message))
            elif event.kind == "brake_off" and current in began:
                say(speed())
            if event.level in ("warn", "error"):
                progress.console.print(as_line(event), markup=False)

        yield report


def _show_changes(out: Console, column: ColumnPlan, limit: int | None) -> None:
    table = new_table("becomes", "rows", "from", right=(1,))
    groups: dict[str, list[Value]] = {}
    for value in column.values:
        if value.after is not None:
            groups.setdefault(value.after, []).append(value)
    for after, values in sorted(groups.items(), key=lambda each: -sum(v.rows for v in each[1])):
        if limit is None:
            for each in values:
                spelling = escape(visible(each.before, WHOLE))
                table.add_row(escape(after), f"{each.rows:,}", spelling)
            continue
        names = [f"{escape(visible(v.before, 20))} {v.rows:,}" for v in values[:4]]
        more = f" · and {len(values) - 4:,} more" if len(values) > 4 else ""
        table.add_row(escape(after), f"{sum(v.rows for v in values):,}", " · ".join(names) + more)
    out.print(table)
    if any(tenant is not None for tenant in column.tenants):
        shown = list(column.tenants.items())[: limit or None]
        label = column.tenant_label
        names = [f"{f'no {label}' if t is None else t}: {rows:,}" for t, rows in shown]
        more = (
            f" and {len(column.tenants) - len(shown)} more"
            if len(shown) < len(column.tenants)
            else ""
        )
        out.print(f"  by {escape(label)}: {escape(', '.join(names))}{more}", soft_wrap=True)
    for example in column.examples[:2]:
        out.print(
            f"  for example {example.row_key}: {visible(example.before)} → {example.after}",
            markup=False,
            soft_wrap=True,
        )


def _show_left(out: Console, column: ColumnPlan, limit: int | None) -> None:
    for match_type in dict.fromkeys(v.match_type for v in column.values if v.after is None):
        values = column.left(match_type)
        rows = sum(value.rows for value in values)
        shown, width = (values, WHOLE) if limit is None else (values[:4], 24)
        names = ", ".join(escape(visible(value.before, width)) for value in shown)
        more = f" and {len(values) - len(shown):,} more" if len(shown) < len(values) else ""
        label = {"null": "NULL", "out_of_scope": "out of scope"}.get(match_type, match_type)
        listed = "" if match_type == "null" else f": {names}{more}"
        out.print(f"  stay as they are, {label}: {counted(rows, 'row')}{listed}", soft_wrap=True)


def _show_lefts(out: Console, words: str, lefts: Sequence[Left]) -> None:
    if lefts:
        rows = sum(left.rows for left in lefts)
        names = ", ".join(
            f"{left.table_name}.{left.column_name} {visible(left.value, 24)} {left.rows:,}"
            for left in lefts[:SHOWN]
        )
        more = f" and {len(lefts) - SHOWN} more values" if len(lefts) > SHOWN else ""
        out.print(f"{counted(rows, 'row')} {words}: {names}{more}", markup=False, soft_wrap=True)


def _remaining(found: Mapping[str, Any]) -> str:
    minutes = found["estimated_minutes_remaining"]
    if not minutes:
        return ""
    low, high = found["estimated_minutes_low"], found["estimated_minutes_high"]
    return f", about {minutes} minutes left ({low} to {high})"
