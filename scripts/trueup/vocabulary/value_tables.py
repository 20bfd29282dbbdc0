"""The findings of the models, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trueup.show.terminal import bar, new_table, percent, visible
from trueup.vocabulary.values import Coverage, Found, Unmapped, Value


def show_flow(out: Console, found: Found) -> None:
    """The meaning of values: one row per canonical value, then those without one, and why."""
    headings = ("what they mean", "rows", "canonical now", "spellings", "for example")
    table = new_table(*headings, right=(1, 2, 3))
    name = escape(found.vocabulary.name)
    for each in found.vocabulary.values:
        _add_group(table, escape(each), [v for v in found.values if v.canonical_value == each])
    reasons = {
        "broader": "narrower, not accepted",
        "ambiguous": f"ambiguous: which {name}?",
        "out_of_scope": f"out of scope: no {name}",
        "unknown": "unknown: to be decided",
        "blank": "blank",
        "null": "NULL",
    }
    for resolution, reason in reasons.items():
        unresolved = [value for value in found.values if value.canonical_value is None]
        _add_group(
            table, f"[dim]{reason}[/]", [v for v in unresolved if v.resolution == resolution]
        )
    out.print(table)


def show_coverage(out: Console, rows: Iterable[Coverage]) -> None:
    """Per column, the share of filled cells that is canonical, before and after."""
    table = new_table(
        "column", "rows", "canonical", "now", "canonical", "after", "unknown", right=(1, 3, 5, 6)
    )
    for row in rows:
        now = row.canonical / row.filled if row.filled else 0.0
        then = row.resolved / row.filled if row.filled else 0.0
        table.add_row(
            escape(f"{row.table_name}.{row.column_name}"),
            f"{row.rows:,}",
            bar(now, 8),
            percent(row.canonical, row.filled),
            bar(then, 8),
            percent(row.resolved, row.filled),
            f"{row.unknown:,}",
        )
    out.print(table)


def show_unmapped(
    out: Console, rows: Sequence[Unmapped], limit: int | None, unit: str = ""
) -> None:
    """The work queue, with suggestions; unit: a word for rows in place of their table's name."""
    table = new_table(
        "unknown value", "rows", "spellings", "tenants", "suggestion", "look at", right=(1, 2, 3)
    )
    shown = rows if limit is None else rows[:limit]
    for row in shown:
        table.add_row(
            escape(visible(row.raw_value, 36)),
            f"{row.row_count:,}",
            f"{row.spelling_count:,}",
            f"{row.tenant_count:,}",
            escape(row.suggested_value or ""),
            escape(sample_keys(row, unit).partition(",")[0]),
        )
    out.print(table)
    if len(shown) < len(rows):
        out.print(f"[dim]and {len(rows) - len(shown):,} more; --limit 0 shows all[/]")


def sample_keys(row: Unmapped, unit: str = "") -> str:
    """Keys of example rows; the table is named once, or replaced by the unit if there is one."""
    table = row.sample_keys.partition(" ")[0]
    keys = row.sample_keys.replace(f", {table} ", ", ")
    return keys.replace(f"{table} ", f"{unit} ", 1) if unit else keys


def _add_group(table: Table, title: str, values: Sequence[Value]) -> None:
    if not values:
        return
    already = sum(value.rows for value in values if value.resolution == "canonical")
    examples = dict.fromkeys(visible(v.value, 20) for v in values if v.resolution != "canonical")
    table.add_row(
        title,
        f"{sum(value.rows for value in values):,}",
        f"{already:,}" if already else "",
        f"{len(values):,}",
        escape(_within(" · ", list(examples), 36)),
    )


def _within(separator: str, texts: Sequence[str], width: int) -> str:
    """As many of the texts as the width takes, one at least."""
    line = ""
    for text in texts:
        longer = f"{line}{separator}{text}" if line else text
        if line and len(longer) > width:
            break
        line = longer
    return line
