"""What people see of a rehearsal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from trueup.migration.rehearsal import ColumnRehearsal, Rehearsal
from trueup.migration.rehearsal_scratch import Prediction
from trueup.migration.tried_batch import KEPT, QUARANTINED, OtherColumn, Tryout
from trueup.show.terminal import counted, visible

UNITS = ("B", "kB", "MB", "GB", "TB")


def show(out: Console, rehearsed: Rehearsal) -> None:
    """Per column what one batch did before it was rolled back, and what the run would cost."""
    for column in rehearsed.columns:
        out.print(f"[bold]rehearsed {escape(column.table_name)}.{escape(column.column_name)}[/]")
        for line in _lines(column):
            out.print(f"  {line}", markup=False, soft_wrap=True)
        for refusal in column.tryout.refusals if column.tryout else []:
            where = f"row {refusal.row_key}: " if refusal.consequence == QUARANTINED else ""
            state = f" ({refusal.sqlstate})" if refusal.sqlstate else ""
            out.print(
                f"  [red]✗[/] {escape(where)}{escape(refusal.message)}{state}"
                f" → {_consequence(refusal.consequence)}",
                soft_wrap=True,
            )
        if column.tryout and not column.tryout.is_complete:
            out.print("  [red]✗[/] there may be more such rows: the search ended here")
        out.print()


def verdict(rehearsed: Rehearsal) -> str | None:
    """What would keep `apply` from ending with exit code 0; None where nothing was found."""
    found = rehearsed.refusals
    if not found:
        return None
    words = dict.fromkeys(_consequence(refusal.consequence) for _, refusal in found)
    return f"The rehearsal found {counted(len(found), 'error')}: {'; '.join(words)}."


def _consequence(consequence: str) -> str:
    return {
        QUARANTINED: "apply would put the row into quarantine and go on",
        KEPT: "apply would report the rows as missed",
    }.get(consequence, "apply would stop there")


def _lines(column: ColumnRehearsal) -> list[str]:
    lines = []
    if column.tryout is None:
        lines.append("no batch was open to be tried out")
    else:
        lines += _tryout(column.tryout)
    if column.prediction:
        lines += _prediction(column.prediction)
    else:
        lines.append(f"no prediction: {column.reason}")
    return lines


def _tryout(tried: Tryout) -> list[str]:
    took = "" if tried.duration_ms is None else f" in {tried.duration_ms:,.0f} ms"
    lines = [
        f"batch {tried.batch_id}: {tried.rows_changed:,} of {counted(tried.rows, 'row')} changed"
        f"{took}, and rolled back",
        *tried.notes,
    ]
    if tried.other_columns:
        lines.append("other columns change too: " + "; ".join(map(_other, tried.other_columns)))
    for each in tried.other_rows:
        parts = [
            f"{counted(number, 'row')} {word}"
            for number, word in (
                (each.inserted, "inserted"), (each.updated, "updated"), (each.deleted, "deleted")
            )
            if number
        ]  # fmt: skip
        lines.append(
            f"triggers write to {each.relation}: {', '.join(parts)}; that is not in the prediction"
        )
    return lines


def _other(column: OtherColumn) -> str:
    return (
        f"{column.column_name} of {counted(column.rows, 'row')}, for example {column.row_key}:"
        f" {visible(column.before, 32)} → {visible(column.after, 32)}"
    )


def _prediction(found: Prediction) -> list[str]:
    return [
        f"predicted: {counted(found.rows, 'row')}, {size(found.wal_bytes)} of WAL"
        f" ({found.wal_bytes_per_row:,} B per row) if a checkpoint comes just before,"
        f" {100 * found.hot_share:.0f} % of the updates HOT",
        f"predicted: {_minutes(found)}, pauses included;"
        f" {size(found.disk_bytes)} of disk (table {size(found.heap_bytes)}, indexes"
        f" {size(found.index_bytes)}, audit {size(found.audit_bytes)}, the rest WAL)",
    ]


def _minutes(found: Prediction) -> str:
    low, high = found.minutes_low * 60, found.minutes_high * 60
    if high < 120:
        return f"{low:.0f} to {high:.0f} seconds" if high >= 1 else "less than a second"
    return f"{found.minutes_low:.0f} to {found.minutes_high:.0f} minutes"


def size(number: float) -> str:
    """Bytes for reading: 312 MB."""
    for unit in UNITS:
        if number < 1000 or unit == UNITS[-1]:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return ""
