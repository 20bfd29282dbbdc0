"""A rehearsal on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.migration.rehearsal import ColumnRehearsal, Rehearsal
from trueup.migration.tried_batch import KEPT, QUARANTINED, OtherColumn
from trueup.show.terminal import bytes_text, counted, duration, visible


def show(out: Console, rehearsed: Rehearsal) -> None:
    """For each column the result of one batch, and the estimated cost of the run."""
    for column in rehearsed.columns:
        out.print(f"[bold]rehearsed {escape(column.table_name)}.{escape(column.column_name)}[/]")
        for line in _lines(column):
            out.print(f"  {line}", markup=False, soft_wrap=True)
        for refusal in column.tryout.refusals:
            where = f"row {refusal.row_key}: " if refusal.consequence == QUARANTINED else ""
            state = f" ({refusal.sqlstate})" if refusal.sqlstate else ""
            out.print(
                f"  [red]✗[/] {escape(where)}{escape(refusal.message)}{state}"
                f" → {_consequence(refusal.consequence)}",
                soft_wrap=True,
            )
        if not column.tryout.is_complete:
            out.print("  [red]✗[/] there may be more such rows: the search ended here")
        out.print()


def verdict(rehearsed: Rehearsal) -> str | None:
    """The errors that would make `apply` exit with 1; None if none was found."""
    found = rehearsed.refusals
    if not found:
        return None
    words = dict.fromkeys(_consequence(refusal.consequence) for refusal in found)
    return f"The rehearsal found {counted(len(found), 'error')}: {'; '.join(words)}."


def _consequence(consequence: str) -> str:
    return {
        QUARANTINED: "apply would put the row into quarantine and go on",
        KEPT: "apply would report the rows as missed",
    }.get(consequence, "apply would stop there")


def _lines(column: ColumnRehearsal) -> list[str]:
    tried = column.tryout
    took = f" in {tried.duration_ms:,.0f} ms" if tried.rows_changed else ""
    lines = [
        f"batch {tried.batch_id}: {tried.rows_changed:,} of {counted(tried.rows, 'row')} changed"
        f"{took}, and rolled back",
        *tried.notes,
    ]
    if tried.other_columns:
        lines.append("other columns change too: " + "; ".join(map(_other, tried.other_columns)))
    lines += [
        f"triggers write to {each.relation}: {counted(each.rows, 'row')} {each.action};"
        " the estimate does not count that"
        for each in tried.other_rows
    ]
    if column.prediction is None:
        return [*lines, "no estimate: no row of the batch could be changed"]
    return [*lines, *_estimate(column.prediction)]


def _other(column: OtherColumn) -> str:
    return (
        f"{column.column_name} of {counted(column.rows, 'row')}, for example {column.row_key}:"
        f" {visible(column.before, 32)} → {visible(column.after, 32)}"
    )


def _estimate(found: Mapping[str, Any]) -> list[str]:
    """The range of the duration, and of the log, by the columns of rehearsal__predict."""
    low, high = (round(found[name]) for name in ("seconds_low", "seconds_high"))
    seconds = "about " if low == high else f"{duration(low)} to " if low else "at most "
    wal = " to ".join(bytes_text(found[name]) for name in ("wal_bytes_low", "wal_bytes_high"))
    return [
        f"Estimated duration: {seconds}{duration(high)}, pauses included",
        f"Estimated write-ahead log: {wal} for {counted(found['rows_planned'], 'row')};"
        " checkpoints before and during the run add to it",
    ]
