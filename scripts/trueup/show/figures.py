"""Numbers for the figures of a page; the templates draw them with HTML and CSS.

A `kind` is a class of the style sheet: now, change, stays, unknown or missing; of a bar also
warned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

DRAWN = 14  # spellings in a flow, besides the canonical ones and the commonest of each target
STRIPED = 80  # tenants of one column, as bars
LEAST_MS = 0.1  # the lowest mark of a plot's scale

Row = Mapping[str, Any]


class Part(NamedTuple):
    """A part of a bar: its name, rows and kind."""

    label: str
    rows: int
    kind: str


def summed(bars: Iterable[Sequence[Part]]) -> list[Part]:
    """The parts of many bars as those of one; parts of the same label are one part."""
    found: dict[str, Part] = {}
    for part in (part for bar in bars for part in bar):
        before = found.get(part.label)
        found[part.label] = part._replace(rows=part.rows + (before.rows if before else 0))
    return list(found.values())


class Line(NamedTuple):
    """A spelling of a flow, or so many rare ones that were gathered."""

    text: str | None
    rows: int
    kind: str
    gathered: int = 0


@dataclass(frozen=True)
class Target:
    """The target of spellings, or the reason why they stay; lines: the commonest of them first.

    kind: of the spellings that are gathered; rows, spellings: of all, in lines or not
    """

    title: str | None
    kind: str
    rows: int
    spellings: int
    lines: Sequence[Line]


def flow(targets: Iterable[Target]) -> list[Target]:
    """Targets with rows. The commonest spellings are kept, the rest of a target is one line."""
    found = [target for target in targets if target.rows]
    others = [line for target in found for line in target.lines if line.kind != "now"]
    kept = set(map(id, sorted(others, key=lambda line: -line.rows)[:DRAWN]))
    return [replace(target, lines=_gathered(target, kept)) for target in found]


def _gathered(target: Target, kept: set[int]) -> list[Line]:
    first = next((line for line in target.lines if line.kind != "now"), None)
    lines = [
        line
        for line in target.lines
        if line.rows and (line.kind == "now" or line is first or id(line) in kept)
    ]
    rows = target.rows - sum(line.rows for line in lines)
    if rows > 0:
        more = max(target.spellings - len(lines), 1)
        lines.append(Line(None, rows, target.kind, more))
    return lines


@dataclass(frozen=True)
class Plot:
    """Values over time on a scale of decades. Places are in % of the box, y from below.

    ticks: where the scale has a label, and of what; paths: dots by kind; levels: heights by name
    """

    ticks: list[tuple[float, float]]
    paths: dict[str, str]
    levels: dict[str, float]


def plot(
    dots: Sequence[tuple[float, float, str]], levels: Mapping[str, float | None], seconds: float
) -> Plot:
    """Single values by the time they ended; dots: seconds, milliseconds, kind."""
    drawn = {name: value for name, value in levels.items() if value is not None}
    values = [max(value, LEAST_MS) for value in (*(ms for _, ms, _ in dots), *drawn.values())]
    bottom = math.floor(math.log10(min(values)))
    top = max(math.ceil(math.log10(max(values))), bottom + 1)

    def height(value: float) -> float:
        return 100 * (math.log10(max(value, LEAST_MS)) - bottom) / (top - bottom)

    paths: dict[str, str] = {}
    for at, ms, kind in dots:
        x = 100 * at / seconds if seconds else 50
        paths[kind] = paths.get(kind, "") + f"M{x:.1f} {100 - height(ms):.1f}h0"
    return Plot(
        ticks=[(height(10.0**power), 10.0**power) for power in range(bottom, top + 1)],
        paths=paths,
        levels={name: height(value) for name, value in drawn.items()},
    )


@dataclass(frozen=True)
class Strip:
    """The tenants of a column; none: the rows of no tenant.

    count: of tenants, in rows or not
    bars:  of the first tenants; apart: of the rows of no tenant, [] if there are none
    """

    name: str
    count: int
    rows: list[Row]
    none: Row | None
    bars: list[list[Part]]
    apart: list[Part]


def strips(rows: Iterable[Row], parts: Callable[[Row], list[Part]]) -> list[Strip]:
    """A strip for each column that has tenants.

    rows: of a column and a tenant, in their order; `tenants`, if it is there: how many there are
    """
    columns: dict[str, list[Row]] = {}
    for row in rows:
        columns.setdefault(f"{row['table_name']}.{row['column_name']}", []).append(row)
    found = []
    for name, own in columns.items():
        known = [row for row in own if row["tenant"] is not None]
        none = next((row for row in own if row["tenant"] is None), None)
        if known:
            bars = [parts(row) for row in known[:STRIPED]]
            count = known[0].get("tenants", len(own)) - (none is not None)
            found.append(Strip(name, count, known, none, bars, parts(none) if none else []))
    return found


def legend(found: Iterable[Strip]) -> list[Part]:
    """The legend of the strips' colours."""
    return summed(bar for strip in found for bar in (*strip.bars, strip.apart))
