"""The findings of the models, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from trueup.show.terminal import bar, new_table, percent, visible
from trueup.vocabulary import values
from trueup.vocabulary.values import Found, Row


def show_flow(out: Console, found: Found) -> None:
    """The meaning of values: one row per canonical value, then those without one, and why."""
    headings = ("what they mean", "rows", "canonical now", "spellings", "for example")
    table = new_table(*headings, right=(1, 2, 3))
    for group in values.groups(found):
        title, already = escape(group["title"]), group["canonical"]
        examples = dict.fromkeys(visible(value, 20) for value in group["examples"])
        table.add_row(
            title if group["kind"] == "change" else f"[dim]{title}[/]",
            f"{group['rows']:,}",
            f"{already:,}" if already else "",
            f"{len(group['spellings']):,}",
            escape(_within(" · ", list(examples), 36)),
        )
    out.print(table)


def show_coverage(out: Console, rows: Sequence[Row]) -> None:
    """Per column, the share of filled cells that is canonical, before and after."""
    table = new_table(
        "column", "rows", "canonical", "now", "canonical", "after", "unknown", right=(1, 3, 5, 6)
    )
    for row in rows:
        filled = row["filled"]
        shares = [
            (bar(row[name] / filled if filled else 0.0, 8), percent(row[name], filled))
            for name in ("canonical", "resolved")
        ]
        counts = (f"{row['rows']:,}", f"{row['undecided']:,}")
        table.add_row(escape(row["place"]), counts[0], *shares[0], *shares[1], counts[1])
    out.print(table)


def show_unmapped(out: Console, rows: Sequence[Row], limit: int | None) -> None:
    """The work queue, with suggestions."""
    table = new_table(
        "unknown value", "rows", "spellings", "tenants", "suggestion", "look at", right=(1, 2, 3)
    )
    for row in rows[:limit]:
        table.add_row(
            escape(visible(row["raw_value"], 36)),
            *(f"{row[name]:,}" for name in ("row_count", "spelling_count", "tenant_count")),
            escape(row["suggested_value"] or ""),
            escape(row["look_at"].partition(",")[0]),
        )
    out.print(table)
    if limit and limit < len(rows):
        out.print(f"[dim]and {len(rows) - limit:,} more; --limit 0 shows all[/]")


def _within(separator: str, texts: Sequence[str], width: int) -> str:
    """As many of the texts as the width takes, one at least."""
    line = ""
    for text in texts:
        longer = f"{line}{separator}{text}" if line else text
        if line and len(longer) > width:
            break
        line = longer
    return line
