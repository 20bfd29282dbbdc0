"""A bundle for people: the block that operators know, the report, and the plan of an import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.show import page, terminal

TAGS = {"ok": "PASS", "info": "INFO", "warn": "WARN", "fail": "FAIL", "error": "ERROR"}
SHOWN_RECORDS = 10  # of a check


def block(document: Mapping[str, Any], output: str, is_verbose: bool) -> str:
    """What the terminal shows; output: where the report is."""
    return page.render("bundle.txt.j2", document=document, output=output, is_verbose=is_verbose,
                       tags=TAGS, SHOWN_RECORDS=SHOWN_RECORDS)  # fmt: skip


def as_markdown(document: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    return page.render("bundle.md.j2", document=document, tags=TAGS)


def show_plan(
    out: Console, summary: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]
) -> None:
    """What an import does: rows of membership__summary and membership__refused."""
    terminal.show_table(out, ("entity", "insert", "update", "unchanged", "refused"),
                        [list(row.values()) for row in summary])  # fmt: skip
    for row in refused:
        what = f"{row['entity']}s.csv, row {row['source_row']}: {row['reason']}"
        out.print(f"  refused: {escape(terminal.visible(what, 200))}", soft_wrap=True)
    if (more := sum(row["refusals"] for row in summary) - len(refused)) > 0:
        out.print(f"  and {more:,} more")
