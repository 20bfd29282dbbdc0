"""A rollback on the terminal, before it is confirmed."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.migration.rollback import Rollback
from trueup.show.terminal import counted, new_table, visible

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
        f"[bold]{escape(column['table_name'])}.{escape(column['column_name'])}[/]:"
        f" {counted(column['rows'], 'row')} will get the value back that they had before,"
        f" in {counted(column['batches'], 'batch')}",
        soft_wrap=True,
    )
    if values := column["restored"]:
        table = new_table("now", "comes back", "rows", right=(2,))
        for value in values[:SHOWN]:
            table.add_row(
                escape(visible(value["value_now"])),
                escape(visible(value["value_restored"])),
                f"{value['rows']:,}",
            )
        out.print(table)
        if hidden := values[SHOWN:]:
            rows = sum(value["rows"] for value in hidden)
            out.print(f"  and {len(hidden):,} more pairs of values, {counted(rows, 'row')}")
    out.print()


def _show_conflicts(out: Console, made: Rollback, limit: int | None) -> None:
    total = sum(made.reasons.values())
    listed = ", ".join(f"{rows:,} {reason}" for reason, rows in sorted(made.reasons.items()))
    out.print(
        f"[bold]{counted(total, 'conflict')}[/]: rows that were changed since the run stay as they"
        f" are ({listed})",
        soft_wrap=True,
    )
    table = new_table("row", "before the run", "the run wrote", "now", "reason")
    shown = made.conflicts[:limit]
    for conflict in shown:
        table.add_row(
            escape(visible(f"{_place(conflict)} {conflict['row_key']}")),
            escape(visible(conflict["value_before"])),
            escape(visible(conflict["value_written"])),
            escape(_now(conflict)),
            escape(conflict["reason"]),
        )
    out.print(table)
    if total > len(shown):
        out.print(f"  and {total - len(shown):,} more (--limit 0 shows all of them)")
    out.print()


def _now(conflict: dict[str, Any]) -> str:
    if conflict["reason"] == "deleted":
        return "no row"
    return "NULL" if conflict["value_now"] is None else visible(conflict["value_now"])


def _place(conflict: dict[str, Any]) -> str:
    return ".".join(filter(None, (conflict["table_name"], conflict["column_name"])))
