"""Plans and runs on the terminal: tables, log lines, a progress bar."""

from __future__ import annotations

import functools
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
from trueup.migration.engine import Event, Left, Outcome
from trueup.migration.plan import Plan
from trueup.migration.runner import Place
from trueup.show.terminal import (
    BAR,
    bytes_text,
    console,
    counted,
    percent,
    show_finding,
    show_table,
    some,
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
        planned, rows, batches = (column[name] for name in ("rows_planned", "rows", "batches"))
        promised = planned - column["rows_refused"]
        out.print(
            f"[bold]{escape(column['table_name'])}.{escape(column['column_name'])}[/]: "
            f"{promised:,} of {rows:,} rows will change"
            f" ({percent(promised, rows)}), in {counted(batches, 'batch')}"
        )
        if planned:
            _show_changes(out, column, limit)
        _show_left(out, column, limit)
        if batches:
            many = column["stripes"] > 1
            stripes = f"{column['stripes']} stripes" if many else "contiguous batches"
            out.print(f"  [dim]{stripes}: {escape(column['why'])}[/]", soft_wrap=True)
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
    left: dict[tuple[str, str], dict[str, None]] = {}
    for column in plan.columns:
        for value in column["values"]:
            key = (value["match_type"], column["vocabulary"])
            if value["after"] is None:
                left.setdefault(key, {})[visible(value["before"])] = None
    for match_type, words in WAYS.items():
        for (why, vocabulary), names in left.items():
            if why == match_type:
                listed = f"{words.format(vocabulary)}: {some(list(names), 20)}"
                yield Event(
                    "values_left", f"Found {len(names)} {listed}", "warn",
                    {"matchType": match_type, "vocabulary": vocabulary, "values": len(names)},
                )  # fmt: skip


def plan_json(plan: Plan, rehearsed: Mapping[str, Any] | None = None) -> str:
    """The plan for machines; with its rehearsal, if there is one."""
    found = {
        "run_id": str(plan.run_id),
        "plan_sha256": plan.plan_sha256,
        "rows_planned": plan.rows_planned,
        "batches": plan.batches,
        "columns": plan.columns,
        "findings": [vars(finding) for finding in plan.findings],
        **({"rehearsal": rehearsed} if rehearsed else {}),
    }
    return records.as_json(found)


def show_outcome(out: Console, outcome: Outcome, run: str) -> None:
    """How a run ended: counts, remaining rows, next step."""
    figures = ("total_batches", "completed_batches", "failed_batches", "rows_updated",
               "rows_skipped", "rows_failed")  # fmt: skip
    headings = ("batches", "done", "failed", "rows updated", "skipped", "failed", "seconds")
    values = [outcome.totals[name] for name in figures]
    show_table(out, headings, [[*values, round(outcome.seconds, 1)]])
    words = outcome.record["words"]
    done = words["done"]
    _show_lefts(out, f"were not {done} although the plan promised it", outcome.missed)
    _show_lefts(out, "were written since the plan and are not canonical", outcome.late)
    totals = outcome.totals
    whole = totals["rows_updated"] >= totals["rows_planned"] and not totals["failed_batches"]
    over = (
        f"all {totals['rows_planned']:,} {words['promised']} rows are {done};"
        f" {totals['rows_failed']:,} others were refused"
        if whole and not outcome.missed
        else f"promised rows were not {done}"
    )
    sentences = {
        "completed": f"Run {run} is completed: {counted(outcome.totals['rows_updated'], 'row')}"
        f" {done} of {outcome.totals['rows_planned']:,} {words['promised']}; none is left as the"
        " plan saw it.",
        "completed_with_failures": f"Run {run} is over, and {over}.\n"
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
    headings = ("run", "kind", "status", "planned at", "by", "rows planned", "updated", "failed")
    shown = [
        [str(row["run_id"])[:8], row["kind"], row["state_text"],
         f"{row['planned_at']:%Y-%m-%d %H:%M}", row["operator"], int(row["rows_planned"]),
         int(row["rows_updated"]), int(row["rows_failed"])]
        for row in rows
    ]  # fmt: skip
    show_table(out, headings, shown)


def show_status(
    out: Console, found: Mapping[str, Any], controls: Sequence[Mapping[str, Any]]
) -> None:
    """The progress view and the control rows of one run."""
    share = float(found["completion_percent"] or 0) / 100
    filled = int(share * BAR)
    out.print(
        f"run {str(found['run_id'])[:8]}  {found['state_text']}  "
        f"{'█' * filled}{'░' * (BAR - filled)} {found['completion_percent']} %{_remaining(found)}"
    )
    names = ("total_batches", "pending_batches", "running_batches", "completed_batches",
             "failed_batches", "rows_planned", "rows_updated", "rows_skipped",
             "rows_failed")  # fmt: skip
    headings = ("batches", "pending", "running", "done", "failed", "rows planned", "updated",
                "skipped", "failed")  # fmt: skip
    show_table(out, headings, [[int(found[name]) for name in names]])
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
    if form != "json" and sys.stderr.isatty() and not verbose:
        with bars(places) as report:
            yield report
    else:
        yield functools.partial(say, form, run_id)


def say(form: str, run_id: uuid.UUID, event: Event) -> None:
    """Print an event as a line of text, or of JSON."""
    if event.level != "debug":
        click.echo(as_json(event, run_id) if form == "json" else as_line(event))


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


def ended(form: str, outcome: Outcome) -> Event:
    """The last line of a run; for machines with what was left, which people read below it."""
    totals = outcome.totals
    data = {
        "totalBatches": totals["total_batches"],
        "completedBatches": totals["completed_batches"],
        "failedBatches": totals["failed_batches"],
        "totalRowsUpdated": totals["rows_updated"],
        "totalRowsSkipped": totals["rows_skipped"],
        "totalRowsFailed": totals["rows_failed"],
        "durationSeconds": round(outcome.seconds, 1),
        **({"auditDigest": outcome.audit_digest} if outcome.audit_digest else {}),
    }
    if form == "json":
        names = ("tableName", "columnName", "value", "rows")
        lefts = {"missed": outcome.missed, "late": outcome.late}
        data = {
            "status": outcome.status, "notes": outcome.notes, **data,
            **{what: [dict(zip(names, each, strict=True)) for each in found]
               for what, found in lefts.items()},
        }  # fmt: skip
    level = "info" if outcome.status in ("completed", "paused") else "error"
    message = f"{outcome.record['words']['title']} {outcome.status.replace('_', ' ')}"
    return Event("run_ended", message, level, data)


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


def _show_changes(out: Console, column: Mapping[str, Any], limit: int | None) -> None:
    groups = _grouped(column, "after").items()
    ordered = sorted(groups, key=lambda each: -_rows(each[1]))
    if limit is None:
        rows = [(after, each["rows"], visible(each["before"], WHOLE))
                for after, values in ordered for each in values]  # fmt: skip
    else:
        rows = [
            (after, _rows(values), some([f"{visible(each['before'], 20)} {each['rows']:,}"
                                         for each in values], 4, " · "))
            for after, values in ordered
        ]  # fmt: skip
    show_table(out, ("becomes", "rows", "from"), rows)
    tenants, label = column["tenants"], column["tenant_label"]
    if any(each["tenant"] is not None for each in tenants):
        names = [
            f"{f'no {label}' if each['tenant'] is None else each['tenant']}:"
            f" {each['rows_planned']:,}"
            for each in tenants
        ]
        line = f"  by {label}: {some(names, limit)}"
        out.print(line, markup=False, soft_wrap=True)
    for example in column["examples"][:2]:
        line = f"{example['row_key']}: {visible(example['before'])} → {example['after']}"
        out.print(f"  for example {line}", markup=False, soft_wrap=True)


def _show_left(out: Console, column: Mapping[str, Any], limit: int | None) -> None:
    for match_type, values in _grouped(column, "match_type").items():
        most, width = (None, WHOLE) if limit is None else (4, 24)
        names = some([visible(value["before"], width) for value in values], most)
        label = {"null": "NULL", "out_of_scope": "out of scope"}.get(match_type, match_type)
        listed = "" if match_type == "null" else f": {names}"
        line = f"  stay as they are, {label}: {counted(_rows(values), 'row')}{listed}"
        out.print(line, markup=False, soft_wrap=True)


def _grouped(column: Mapping[str, Any], name: str) -> dict[str, list[dict[str, Any]]]:
    """Values by what they become (after), or those that stay by the reason (match_type)."""
    found: dict[str, list[dict[str, Any]]] = {}
    for value in column["values"]:
        if (value["after"] is None) == (name == "match_type"):
            found.setdefault(value[name], []).append(value)
    return found


def _rows(values: Sequence[Mapping[str, Any]]) -> int:
    return sum(value["rows"] for value in values)


def _show_lefts(out: Console, words: str, lefts: Sequence[Left]) -> None:
    if lefts:
        rows = sum(left.rows for left in lefts)
        names = [
            f"{left.table_name}.{left.column_name} {visible(left.value, 24)} {left.rows:,}"
            for left in lefts
        ]
        line = f"{counted(rows, 'row')} {words}: {some(names, SHOWN)}"
        out.print(line, markup=False, soft_wrap=True)


def _remaining(found: Mapping[str, Any]) -> str:
    minutes = found["estimated_minutes_remaining"]
    if not minutes:
        return ""
    low, high = found["estimated_minutes_low"], found["estimated_minutes_high"]
    return f", about {minutes} minutes left ({low} to {high})"
