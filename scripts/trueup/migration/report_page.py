"""The page of `trueup report`: selects the contents; the template formats them."""

from __future__ import annotations

from typing import Any

from trueup.show import figures, flows, page
from trueup.show.figures import Part, Plot, Row
from trueup.show.words import LEFT


def build(report: Row) -> str:
    """The page as HTML."""
    columns, totals, work = report["columns"], report["totals"], report["server_work"]
    is_rollback = report["run"]["restores"]
    pictures = [
        flows.picture(column, report["targets"], report["values"], is_rollback)
        for column in columns
    ]
    strips = figures.strips(report["tenants"], lambda row: _tenant_parts(row, is_rollback))
    seconds = report["durations"]["worked_seconds"]
    return page.render(
        "run.html.j2",
        report=report,
        run=report["run"],
        totals=totals,
        version=report["trueup_version"],
        is_rollback=is_rollback,
        place=flows.place,
        parts=_parts(report, columns),
        pictures=[picture for picture in pictures if picture.flow],
        strips=strips,
        tenant_label=report["tenant_label"],
        legend=figures.legend(strips),
        plot=_plot(report),
        rates=[_rate(row["rows_updated"], row["to_seconds"] - row["from_seconds"]) or 0
               for row in report["rates"]],
        rate=_rate(totals["rows_updated"], seconds),
        breaks=_breaks(report),
        updates=[
            (each, [Part("HOT", each["hot_updates"], "now"), Part(
                "with new index entries", each["updates"] - each["hot_updates"], "change"
            )])
            for each in work["tables"]
        ],
        wal_per_row=_rate(work["wal_bytes"], totals["rows_updated"]),
        reasons=_reasons(report),
    )  # fmt: skip


def _parts(report: Row, columns: list[Row]) -> list[Part]:
    """All rows of the run's columns, by outcome."""
    if not report["run"]["restores"]:
        return figures.summed(map(flows.parts, columns))
    done = report["totals"]["rows_updated"]
    left = max(report["totals"]["rows_planned"] - done, 0)
    return [
        Part("restored", done, "change"),
        Part("edited or deleted since", report["conflicts"]["total"], "stays"),
        Part("restorable, not restored", left, "unknown"),
    ]


def _tenant_parts(row: Row, is_rollback: bool) -> list[Part]:
    """Of a tenant's rows that hold a value; of those that were touched if none was counted."""
    if is_rollback or row["row_total"] is None:
        return [
            Part("restored" if is_rollback else "changed", row["rows_changed"], "change"),
            Part("edited or deleted since", row["rows_conflicting"], "stays"),
        ]
    none = {"null_total": row["rows_empty"], "blank_total": 0, "rows_updated": row["rows_changed"]}
    return flows.parts({**row, **none})[:-1]


def _plot(report: Row) -> Plot | None:
    """Each batch by the time it ended, with the usual, the slow and the target duration."""
    found = report["durations"]
    wanted = [column["target_ms"] for column in report["columns"] if column["batches"]]
    dots = [
        (point["worked_seconds"], point["duration_ms"],
         "unknown" if point["status"] == "failed" else "change")
        for point in report["points"]
    ]  # fmt: skip
    levels = {"p50": found["p50_ms"], "p95": found["p95_ms"], "target": min(wanted, default=None)}
    return figures.plot(dots, levels, found["worked_seconds"] or 0) if dots else None


def _breaks(report: Row) -> list[tuple[float, float]]:
    """Breaks of the run: after how many % of the working time, and for how many seconds."""
    seconds = report["durations"]["worked_seconds"]
    return [
        (100 * max(row["worked_seconds"] - row["duration_ms"] / 1000, 0) / seconds,
         row["break_seconds"])
        for row in report["points"] if row["break_seconds"] and seconds
    ]  # fmt: skip


def _rate(count: float | None, whole: float | None) -> float | None:
    return count / whole if count is not None and whole else None


def _reasons(report: Row) -> list[dict[str, Any]]:
    """Values left alone and why, over all columns; empty values are not listed."""
    found = []
    for because, (title, meaning) in LEFT.items():
        targets = [row for row in report["targets"] if row["left_because"] == because]
        if targets and because not in flows.EMPTY and not report["run"]["restores"]:
            values = [row for row in report["values"] if row["left_because"] == because]
            values.sort(key=lambda row: -row["rows_planned"])
            found.append({
                "title": title,
                "meaning": meaning.format(vocabulary="value"),
                "spellings": sum(row["spellings"] for row in targets),
                "rows": sum(row["rows_planned"] for row in targets),
                "examples": [row["value_before"] for row in values],
            })  # fmt: skip
    return found
