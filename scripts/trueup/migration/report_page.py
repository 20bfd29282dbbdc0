"""The page of `trueup report`: a run in pictures, as data for its template."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trueup.core.runs import ROLLBACK
from trueup.migration.report_records import FAILED, Column, Prediction, Report, Tenant
from trueup.show import figures, flows, page
from trueup.show.figures import Part, Plot, Strip
from trueup.show.flows import EMPTY, ColumnPicture, Value
from trueup.show.words import LEFT

# What a page shows at most; the rest is counted and said to be left out. The JSON has more.
SPELLINGS = 200  # of a column that changed; of those that stay
STRIPED = 120  # tenants of one column, as bars
TENANTS = 300  # the same as a table
ROWS = 50  # refused rows, failed batches, conflicts
OFFENDERS = 10  # of a check
WORDS = 200  # letters of a message
CELL = 48  # letters of a value among others
INTERNAL = ("planned_xid",)  # options that tell people nothing


@dataclass(frozen=True)
class TenantPicture:
    """The tenants of one column, those with the most rows first; none: the rows of no tenant."""

    name: str
    count: int
    strip: Strip
    parts: list[Part]
    rows: list[Tenant]
    none: Tenant | None


@dataclass(frozen=True)
class Reason:
    """Why values stay: title and meaning, how many there are, and the commonest of them."""

    title: str
    meaning: str
    spellings: int
    rows: int
    values: list[Value]

    @property
    def examples(self) -> list[str]:
        """The commonest, shortened."""
        return list(dict.fromkeys(page.short(each.value_before, 24) for each in self.values))[:4]


def build(report: Report) -> str:
    """The page as HTML."""
    done = "restored" if report.is_rollback else "changed"
    pictures = [_column(report, column) for column in report.columns]
    reasons = _reasons(report)
    tenants = _tenants(report)
    return page.render(
        "run.html.j2",
        report=report,
        run=report.run,
        totals=report.totals,
        version=report.trueup_version,
        done=done,
        promised="restorable" if report.is_rollback else "promised",
        parts=_parts(report),
        pictures=[picture for picture in pictures if picture.flows],
        tenants=tenants,
        tenant_parts=figures.summed(picture.parts for picture in tenants),
        durations=_durations(report),
        rates=_rates(report),
        breaks=_breaks(report),
        milliseconds=milliseconds,
        duration=figures.duration,
        bytes=in_bytes,
        rate=_rate(report),
        wal_per_row=_share(report.server_work.wal_bytes, report.totals["rows_updated"]),
        updates=[
            (each, [Part("HOT", each.hot_updates, "now"),
                    Part("with new index entries", each.updates - each.hot_updates, "change")])
            for each in report.server_work.tables
        ],
        predictions=[_compared(each) for each in report.predictions],
        brakes=[column for column in report.columns if column.brake],
        reasons=reasons,
        checks=report.verification["checks"],
        marks={"pass": "✓", "info": "✓", "warn": "!", "fail": "✗", "error": "✗"},
        boxes={"met": "✓", "not met": "✗", "open": ""},
        failed=report.verdict.state == FAILED,
        warnings=[each for each in report.run["findings"] if each.get("status") != "ok"],
        options=_options(report.run["options"]),
        cut=lambda text: page.short(text, WORDS),
        key=lambda parts: page.short(", ".join(parts), CELL) if parts else "",
        ROWS=ROWS,
        TENANTS=TENANTS,
        STRIPED=STRIPED,
        OFFENDERS=OFFENDERS,
    )  # fmt: skip


def milliseconds(value: float | None) -> str:
    """7.25 → 7.2 ms, 1850 → 1.9 s; a dash where nothing was measured."""
    return "–" if value is None else figures.duration(value / 1000)


def in_bytes(value: float | None) -> str:
    """153 → 153 B, 1500000 → 1.4 MB; a dash where nothing was measured."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1024 or unit == "GB":
            break
        value /= 1024
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


def _parts(report: Report) -> list[Part]:
    """All rows of the run's columns, as the plan counted them, by what became of them."""
    totals = report.totals
    unchanged = max(totals["rows_planned"] - totals["rows_updated"], 0)
    counted = [column for column in report.columns if column.row_total is not None]
    parts = []
    if not report.is_rollback:
        empty = sum((column.null_total or 0) + (column.blank_total or 0) for column in counted)
        canonical = sum(
            (column.row_total or 0) - column.rows_planned - column.rows_left for column in counted
        )
        parts = [Part("canonical before", max(canonical - empty, 0), "now")]
    parts.append(Part(_done(report), totals["rows_updated"], "change"))
    if report.is_rollback:
        return [
            *parts,
            Part("edited or deleted since", report.conflicts.total, "stays"),
            Part("restorable, not restored", unchanged, "unknown"),
        ]
    return [
        *parts,
        Part("left as planned", totals["rows_left"], "stays"),
        Part("promised, not changed", unchanged, "unknown"),
        Part("empty", empty, "missing"),
    ]


def _done(report: Report) -> str:
    return "restored" if report.is_rollback else "changed"


def _of(column: Column, rows: Iterable[Any]) -> list[Any]:
    place = (column.table_name, column.column_name)
    return [row for row in rows if (row.table_name, row.column_name) == place]


def _column(report: Report, column: Column) -> ColumnPicture:
    return flows.picture(
        column.name,
        _of(column, report.targets),
        _of(column, report.values),
        column.rows_updated,
        SPELLINGS,
        report.is_rollback,
    )


def _tenants(report: Report) -> list[TenantPicture]:
    """Per column one bar per tenant; only where there is a tenant at all."""
    found = []
    for column in report.columns:
        rows: list[Tenant] = _of(column, report.tenants)
        known = [row for row in rows if row.tenant is not None]
        none = next((row for row in rows if row.tenant is None), None)
        if not known:
            continue
        bars = [_tenant_parts(row, report.is_rollback) for row in known[:STRIPED]]
        apart = _tenant_parts(none, report.is_rollback) if none else None
        found.append(
            TenantPicture(
                name=column.name,
                count=known[0].tenants - (none is not None),
                strip=figures.strip(bars, apart),
                parts=figures.summed([*bars, *([apart] if apart else [])]),
                rows=known,
                none=none,
            )
        )
    return found


def _tenant_parts(row: Tenant, back: bool) -> list[Part]:
    """Of a tenant's rows that hold a value; of those that were touched where none was counted."""
    if back or row.row_total is None:
        return [
            Part("restored" if back else "changed", row.rows_changed, "change"),
            Part("edited or deleted since", row.rows_conflicting, "stays"),
        ]
    planned, left = row.rows_planned or 0, row.rows_left or 0
    before = row.row_total - (row.rows_empty or 0) - planned - left
    return [
        Part("canonical before", max(before, 0), "now"),
        Part("changed", row.rows_changed, "change"),
        Part("left as planned", left, "stays"),
        Part("promised, not changed", max(planned - row.rows_changed, 0), "unknown"),
    ]


def _both(draw: Callable[[figures.Box], Plot]) -> list[Plot]:
    return [draw(box) for box in (figures.WIDE_BOX, figures.NARROW_BOX)]


def _durations(report: Report) -> list[Plot]:
    """Each batch by the time it ended, with the usual, the slow and the wanted duration."""
    found = report.durations
    if not report.points:
        return []
    levels = {"p50": found.p50_ms, "p95": found.p95_ms}
    wanted = [column.target_ms for column in report.columns if column.batches]
    if wanted:
        levels["target"] = float(min(wanted))
    dots = [
        figures.Dot(
            point.worked_seconds,
            point.duration_ms,
            "unknown" if point.status == "failed" else "change",
        )
        for point in report.points
    ]
    drawn = {name: value for name, value in levels.items() if value is not None}
    return _both(
        lambda box: figures.dots(dots, drawn, _breaks(report), _worked(report), box, milliseconds)
    )


def _rates(report: Report) -> list[Plot]:
    if not report.rates:
        return []
    steps = [
        figures.Step(rate.from_seconds, rate.to_seconds, rate.rows_per_second)
        for rate in report.rates
    ]
    return _both(
        lambda box: figures.steps(
            steps, _breaks(report), _worked(report), box, lambda value: f"{value:,.0f}"
        )
    )


def _worked(report: Report) -> float:
    return max((point.worked_seconds for point in report.points), default=0.0)


def _breaks(report: Report) -> list[tuple[float, str]]:
    """Where nobody worked: seconds of work before, and for how long."""
    found = []
    for point in report.points:
        if point.break_seconds:
            at = max(point.worked_seconds - point.duration_ms / 1000, 0.0)
            found.append((at, figures.duration(point.break_seconds)))
    return found


def _rate(report: Report) -> float | None:
    """Rows per second of work."""
    seconds = report.durations.worked_seconds
    return report.totals["rows_updated"] / seconds if seconds else None


def _share(part: float | None, whole: int) -> float | None:
    return part / whole if part is not None and whole else None


def _reasons(report: Report) -> list[Reason]:
    """What stayed, and why, over all columns; empty values are no finding."""
    if report.run["kind"] == ROLLBACK:
        return []
    found = []
    for because, (title, meaning) in LEFT.items():
        targets = [target for target in report.targets if target.left_because == because]
        if targets and because not in EMPTY:
            values = [value for value in report.values if value.left_because == because]
            found.append(
                Reason(
                    title=title,
                    meaning=meaning.format(vocabulary="value"),
                    spellings=sum(target.spellings for target in targets),
                    rows=sum(target.rows_planned for target in targets),
                    values=sorted(values, key=lambda value: -value.rows_planned),
                )
            )
    return found


def _compared(each: Prediction) -> tuple[str, str, str, str]:
    """What, predicted, real, and how far the prediction was off."""
    off = "–"
    if each.predicted is not None and each.real:
        off = f"{100 * (each.predicted / each.real - 1):+.1f} %"
    return each.what, _in_unit(each.predicted, each.unit), _in_unit(each.real, each.unit), off


def _in_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "not recorded"
    if unit == "bytes":
        return in_bytes(value)
    if unit == "seconds":
        return figures.duration(value)
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:,.0f} {unit}"


def _options(options: dict[str, Any]) -> list[tuple[str, str]]:
    """The options of the plan that somebody set, as text."""
    return [
        (name, page.short(_as_text(value), WORDS))
        for name, value in options.items()
        if name not in INTERNAL and value not in (None, [], {})
    ]


def _as_text(value: Any) -> str:
    """An option for reading: lists without brackets, rows of no tenant as on the command line."""
    if isinstance(value, list):
        return ", ".join("none" if each is None else str(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
