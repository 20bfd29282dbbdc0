"""The lines and tables of the guard's commands. Texts and sums come from analyses/guard.sql."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console
from rich.markup import escape

from trueup.findings import Finding
from trueup.show import terminal


def show_status(out: Console, found: dict[str, Any], findings: list[Finding]) -> None:
    """Where the scopes stand; of one also its steps and writers; then what is wrong."""
    show_scopes(out, found["scopes"])
    for title, name in (("Who would feel each step", "steps"),
                        ("Who wrote what, in 30 days", "writers")):  # fmt: skip
        if found.get(name):
            out.print(f"\n{title}")
            show_rows(out, found[name])
    out.print()
    for finding in findings:
        terminal.show_finding(out, dataclasses.asdict(finding))


def show_scopes(out: Console, scopes: list[dict[str, Any]]) -> None:
    """Mode and since when; indented, what happened in a day and the next step."""
    for row in scopes:
        for indent, text in zip(("", "    ", "    "), row["texts"], strict=False):
            out.print(indent + escape(terminal.visible(text, 300)), soft_wrap=True)


def show_rows(out: Console, rows: list[dict[str, Any]]) -> None:
    """Rows as a table, headed by the names of their columns."""
    terminal.show_table(
        out,
        [name.replace("_", " ") for name in rows[0]] if rows else [],
        [[f"{value:%m-%d %H:%M}" if hasattr(value, "minute") else
          value if isinstance(value, int) else "–" if value is None else
          terminal.visible(str(value)) for value in row.values()] for row in rows],
    )  # fmt: skip
