"""A rollback on the terminal, before it is confirmed."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.migration.rollback import Rollback
from trueup.show.terminal import counted, show_table, visible

SHOWN = 20  # pairs of values per column


def show(out: Console, made: Rollback, limit: int | None) -> None:
    """Per column the restored rows, then the conflicts; limit: conflicts shown, None = all."""
    for column in made.columns:
        if column["batches"]:
            _show_column(out, column)
    if made.reasons:
        _show_conflicts(out, made, limit)


def _show_column(out: Console, column: dict[str, Any]) -> None:
    out.print(
        f"[bold]{escape(_place(column))}[/]:"
        f" {counted(column['rows'], 'row')} will get the value back that they had before,"
        f" in {counted(column['batches'], 'batch')}",
        soft_wrap=True,
    )
    if values := column["restored"]:
        rows = [(visible(each["value_now"]), visible(each["value_restored"]), each["rows"])
                for each in values]  # fmt: skip
        show_table(out, ("now", "comes back", "rows"), rows[:SHOWN])
        if hidden := rows[SHOWN:]:
            total = counted(sum(row[2] for row in hidden), "row")
            out.print(f"  and {len(hidden):,} more pairs of values, {total}")
    out.print()


def _show_conflicts(out: Console, made: Rollback, limit: int | None) -> None:
    total = sum(made.reasons.values())
    listed = ", ".join(f"{rows:,} {reason}" for reason, rows in sorted(made.reasons.items()))
    out.print(
        f"[bold]{counted(total, 'conflict')}[/]: rows that were changed since the run stay as they"
        f" are ({listed})",
        soft_wrap=True,
    )
    rows = [
        (visible(f"{_place(each)} {each['row_key']}"), visible(each["value_before"]),
         visible(each["value_written"]),
         "no row" if each["reason"] == "deleted" else visible(each["value_now"]), each["reason"])
        for each in made.conflicts[:limit]
    ]  # fmt: skip
    show_table(out, ("row", "before the run", "the run wrote", "now", "reason"), rows)
    if total > len(rows):
        out.print(f"  and {total - len(rows):,} more (--limit 0 shows all of them)")
    out.print()


def _place(row: dict[str, Any]) -> str:
    return ".".join(filter(None, (row["table_name"], row["column_name"])))
