"""Output for people: tables, bars, progress. Colour and motion only on a terminal."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trueup.core.dbt import Outcome

WIDTH = 100  # columns if the output is not a terminal
BAR = 24  # columns of a bar
MARKS = {"ok": "[green]✓[/]", "info": "[dim]·[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]",
         "error": "[red]✗[/]"}  # fmt: skip


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr, of fixed width if it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH
    # no emoji: a name such as :key: is printed as it is
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False)


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A progress bar on stderr: call with (what, done, total). Silent without a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    columns = (
        TextColumn(f"{title:<8}"),
        BarColumn(BAR),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(
            task, description=escape(what), completed=done, total=total
        )


def visible(value: str | None, columns: int = 48) -> str:
    """A value as one line on which everything can be seen; NULL and blanks are told apart.

    Characters that print nothing stand as their code point: 'Se\u200bed' → Se‹U+200B›ed.
    A text of more than so many columns is cut and ends with …; no code point is cut in two.
    """
    if value is None:
        return "NULL"
    pieces: list[str] = []
    room = columns
    for letter in value:
        pieces.append(_visible_letter(letter))
        room -= _width(pieces[-1])
        if room < 0:
            while room < 1:
                room += _width(pieces.pop())
            pieces.append("…")
            break
    shown = "".join(pieces)
    return f"'{shown}'" if value.strip() != value or not value else shown


def bar(share: float, width: int = BAR) -> str:
    """A share from 0 to 1 as a bar; never full below 1, never empty above 0."""
    filled = round(share * width)
    filled = min(max(filled, 1 if share > 0 else 0), width - 1 if share < 1 else width)
    return "█" * filled + "░" * (width - filled)


def percent(part: int, whole: int) -> str:
    """A share for reading: 0 % and 100 % only if they are exact."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"


def counted(number: int, word: str) -> str:
    """A number and what it counts: 1 row, 2,000 rows, 3 batches, 2 indexes, 4 companies."""
    if number != 1 and re.search("[^aeiou]y$", word):
        return f"{number:,} {word[:-1]}ies"
    ending = "" if number == 1 else "es" if word.endswith(("ch", "x")) else "s"
    return f"{number:,} {word}{ending}"


def bytes_text(count: float) -> str:
    """An amount of bytes as PostgreSQL's pg_size_pretty writes it: 153 bytes, 9216 kB, 64 MB."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while abs(count) >= 10_240 and len(units) > 1:
        count, units = count / 1024, units[1:]
    return f"{count:.0f} {units[0]}"


def duration(seconds: float) -> str:
    """A time for reading, in its two greatest units: 0.0046 → 4.6 ms, 90 → 1 min 30 s."""
    if 0 < seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.2g} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"),
             (whole % 60, "s")]  # fmt: skip
    first = next((number for number, (count, _) in enumerate(units) if count), len(units) - 1)
    parts = [f"{count} {name}" for count, name in units[first : first + 2] if count]
    return " ".join(parts) or "0 s"


def show_failures(out: Console, outcome: Outcome, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Failed nodes of a dbt run, each with the rows that a test found."""
    for failure in outcome.failures:
        out.print(f"[bold red]✗[/] {escape(failure.name)}: {escape(failure.message)}")
        for row in rows.get(failure.name, []):
            shown = ", ".join(f"{name} = {visible(str(value))}" for name, value in row.items())
            out.print(f"    {escape(shown)}")


def new_table(*columns: str, right: Sequence[int] = ()) -> Table:
    """A table without lines; right: the columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number in right else "left", overflow="fold")
    return table


def show_table(out: Console, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; columns of numbers stand at the right."""
    listed = list(rows)
    numbers = [place for place in range(len(headings))
               if all(isinstance(row[place], int | float) for row in listed)]  # fmt: skip
    table = new_table(*headings, right=numbers)
    for row in listed:
        table.add_row(*(f"{each:,}" if isinstance(each, int | float) else escape(str(each))
                        for each in row))  # fmt: skip
    out.print(table)


def some(texts: Sequence[str], most: int | None = None, between: str = ", ") -> str:
    """The first texts, and how many more there are; most: None for all."""
    shown = texts[:most]
    hidden = len(texts) - len(shown)
    return between.join(shown) + (f" and {hidden:,} more" if hidden else "")


def _visible_letter(letter: str) -> str:
    if letter == " ":
        return letter
    names = {"\n": "⏎", "\t": "⇥"}
    if letter in names:
        return names[letter]
    # controls, formats, separators and lone combining marks print nothing of their own
    if unicodedata.category(letter)[0] in "CZ" or unicodedata.combining(letter):
        return f"‹U+{ord(letter):04X}›"
    return letter


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def show_finding(out: Console, finding: Mapping[str, Any]) -> None:
    """A mark, what it is about, what was found → what to do; commands on lines of their own."""
    sentence, *commands = (finding["remedy"] or "").split("\n")
    about = finding["subject"] or finding["name"]
    text = " → ".join(each for each in (finding["message"], sentence) if each)
    out.print(f"{MARKS[finding['status']]} {escape(about):<28} {escape(text)}", soft_wrap=True)
    for command in commands:
        out.print(f"    {escape(command)}", soft_wrap=True)
