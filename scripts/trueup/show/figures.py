"""Geometry of the figures: numbers in, coordinates out. The templates draw them as SVG.

All coordinates are user units of the figure's own viewBox, which are CSS pixels at its natural
width. A `kind` is a class of the style sheet: now, change, stays, unknown or missing; of a bar also
warned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

THINNEST = 1.0  # what is there is seen


@dataclass(frozen=True)
class Stream:
    """What leads to a target, such as one spelling: label, rows, kind."""

    label: str
    rows: int
    kind: str


@dataclass(frozen=True)
class Target:
    """Where streams end. Its rows are the sum of theirs."""

    label: str
    kind: str
    streams: Sequence[Stream]

    @property
    def rows(self) -> int:
        return sum(stream.rows for stream in self.streams)


@dataclass(frozen=True)
class Shape:
    """Measures of a flow.

    name:        class of the style sheet that shows it
    width:       of the figure; left and right: x of both columns of nodes, bar: their width
    count_width: from a left node to the end of its label; the count stands between
    *_label:     least height of a label; *_columns: its letters of fixed width
    """

    name: str
    width: int
    left: int
    right: int
    bar: int
    count_width: int
    left_label: int
    right_label: int
    left_columns: int
    right_columns: int


WIDE = Shape(
    name="wide", width=1000, left=340, right=760, bar=9, count_width=78,
    left_label=19, right_label=40, left_columns=34, right_columns=26,
)  # fmt: skip
NARROW = Shape(
    name="narrow", width=360, left=168, right=232, bar=7, count_width=54,
    left_label=17, right_label=36, left_columns=17, right_columns=16,
)  # fmt: skip
HEIGHT = 320  # of all rows together, gaps not counted
GAP = 12  # between targets


@dataclass(frozen=True)
class Node:
    """A bar of a flow with the middle of its label."""

    label: str
    rows: int
    kind: str
    y: float
    height: float
    middle: float


@dataclass(frozen=True)
class Ribbon:
    """A stream from its bar to its target's: top and bottom on both sides."""

    source: str
    target: str
    rows: int
    kind: str
    left_top: float
    right_top: float
    height: float


@dataclass(frozen=True)
class Flow:
    """A flow, ready to be drawn in one shape."""

    shape: Shape
    height: float
    total: int
    left: list[Node]
    right: list[Node]
    ribbons: list[Ribbon]


def flow(targets: Sequence[Target], shape: Shape) -> Flow:
    """Lay out a flow: each target beside its streams, so that no ribbon crosses another.

    Heights are proportional to rows, but nothing is thinner than THINNEST. Targets and streams
    without rows are left out.
    """
    total = sum(target.rows for target in targets)
    drawn = Flow(shape, 0.0, total, [], [], [])
    y = 2.0
    for target in targets:
        streams = [stream for stream in target.streams if stream.rows]
        if not streams:
            continue
        heights = [max(THINNEST, HEIGHT * stream.rows / total) for stream in streams]
        slots = [max(shape.left_label, height + 3) for height in heights]
        extent = max(shape.right_label, sum(slots))
        at = y + (extent - sum(slots)) / 2
        right_top = y + (extent - sum(heights)) / 2
        middle = y + extent / 2
        drawn.right.append(
            Node(target.label, target.rows, target.kind, right_top, sum(heights), middle)
        )
        for stream, height, slot in zip(streams, heights, slots, strict=True):
            top = at + (slot - height) / 2
            drawn.left.append(
                Node(stream.label, stream.rows, stream.kind, top, height, at + slot / 2)
            )
            drawn.ribbons.append(
                Ribbon(stream.label, target.label, stream.rows, stream.kind, top, right_top, height)
            )
            at += slot
            right_top += height
        y += extent + GAP
    return Flow(shape, max(y - GAP + 2, 0.0), total, drawn.left, drawn.right, drawn.ribbons)


@dataclass(frozen=True)
class Part:
    """A part of a bar: its name, rows and kind."""

    label: str
    rows: int
    kind: str


def summed(bars: Iterable[Sequence[Part]]) -> list[Part]:
    """The parts of many bars as those of one; parts of the same label are one part."""
    found: dict[str, Part] = {}
    for bar in bars:
        for part in bar:
            before = found.get(part.label)
            rows = part.rows + (before.rows if before else 0)
            found[part.label] = Part(part.label, rows, part.kind)
    return list(found.values())


@dataclass(frozen=True)
class Strip:
    """Many small stacked bars side by side: one path per kind, in a box of width x height."""

    width: int
    height: int
    paths: dict[str, str]


STRIP_WIDTH = 300
STRIP_HEIGHT = 64
APART = 6  # between the last bar and the one that stands apart


def strip(bars: Sequence[Sequence[Part]], apart: Sequence[Part] | None = None) -> Strip:
    """Stacked bars of equal height, each as shares of its own sum, first part at the bottom.

    apart: one more bar at the right, away from the others. A bar without rows stays empty.
    """
    drawn = [*bars] if apart is None else [*bars, apart]
    room = STRIP_WIDTH - (APART if apart is not None and bars else 0)
    step = min(24.0, room / max(len(drawn), 1))
    width = step - (1 if step > 2.5 else 0)
    paths: dict[str, list[str]] = {}
    for number, parts in enumerate(drawn):
        moved = APART if apart is not None and bars and number == len(bars) else 0
        x = number * step + moved
        total = sum(part.rows for part in parts)
        y = float(STRIP_HEIGHT)
        for part in parts:
            if part.rows:
                height = STRIP_HEIGHT * part.rows / total
                y -= height
                paths.setdefault(part.kind, []).append(
                    f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"
                )
    return Strip(STRIP_WIDTH, STRIP_HEIGHT, {kind: "".join(steps) for kind, steps in paths.items()})


@dataclass(frozen=True)
class Box:
    """Measures of a figure over time: name as a Shape has it, the room of the drawing itself."""

    name: str
    width: int
    height: int
    ticks: int  # about so many along the time


WIDE_BOX = Box("wide", 930, 190, 8)
NARROW_BOX = Box("narrow", 300, 170, 4)


@dataclass(frozen=True)
class Dot:
    """Something that took `value` and ended `seconds` after the beginning."""

    seconds: float
    value: float
    kind: str


@dataclass(frozen=True)
class Step:
    """A value that holds from one second to another."""

    start: float
    end: float
    value: float


@dataclass(frozen=True)
class Plot:
    """Values over time, ready to be drawn in one box; y grows downwards.

    xs, ys: where the axes have a label; paths: dots by kind; levels: heights by name
    area, line: of the steps; breaks: where time was left out, and what to say of it
    """

    box: Box
    xs: list[tuple[float, str]]
    ys: list[tuple[float, str]]
    paths: dict[str, str]
    levels: dict[str, float]
    area: str
    line: str
    breaks: list[tuple[float, str]]


LEAST = 1e-9  # what is less is nothing
WIDEST = 10.0  # times the middle value: beyond, a scale of decades shows both
TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def dots(
    found: Sequence[Dot],
    levels: Mapping[str, float],
    breaks: Sequence[tuple[float, str]],
    seconds: float,
    box: Box,
    label: Callable[[float], str],
) -> Plot:
    """Single values over time, with lines at some heights.

    The scale has decades where the greatest value is far from the middle one: else the others
    would lie on the axis. label: a tick's value, for people.
    """
    values = sorted(dot.value for dot in found) or [0.0]
    shown = [*values, *levels.values()]
    middle = values[len(values) // 2]
    if middle > LEAST and max(shown) > WIDEST * middle:
        lowest = max(min(value for value in shown if value > 0), max(shown) / 10**5)
        bottom, top = math.floor(math.log10(lowest)), math.ceil(math.log10(max(shown)))
        ticks = [10.0**power for power in range(bottom, top + 1)]

        def height(value: float) -> float:
            share = (math.log10(max(value, ticks[0])) - bottom) / (top - bottom)
            return box.height * (1 - share)
    else:
        ticks = _ticks(max(shown))

        def height(value: float) -> float:
            return box.height * (1 - value / ticks[-1])

    paths: dict[str, list[str]] = {}
    for dot in found:
        x = _along(dot.seconds, seconds, box)
        paths.setdefault(dot.kind, []).append(f"M{x:.1f} {height(dot.value):.1f}h0")
    return Plot(
        box=box,
        xs=_times(seconds, box),
        ys=[(height(tick), label(tick)) for tick in ticks],
        paths={kind: "".join(steps) for kind, steps in paths.items()},
        levels={name: height(value) for name, value in levels.items()},
        area="",
        line="",
        breaks=[(_along(at, seconds, box), text) for at, text in breaks],
    )


def steps(
    found: Sequence[Step],
    breaks: Sequence[tuple[float, str]],
    seconds: float,
    box: Box,
    label: Callable[[float], str],
) -> Plot:
    """Values that each hold for a while, as a line in steps over its area."""
    ticks = _ticks(max((step.value for step in found), default=0.0))
    line = ""
    for number, step in enumerate(found):
        x, end = (_along(at, seconds, box) for at in (step.start, step.end))
        y = box.height * (1 - step.value / ticks[-1])
        line += f"{'L' if number else 'M'}{x:.1f} {y:.1f}H{end:.1f}"
    return Plot(
        box=box,
        xs=_times(seconds, box),
        ys=[(box.height * (1 - tick / ticks[-1]), label(tick)) for tick in ticks],
        paths={},
        levels={},
        area=f"M0 {box.height}L{line[1:]}V{box.height}z" if found else "",
        line=line,
        breaks=[(_along(at, seconds, box), text) for at, text in breaks],
    )


def duration(seconds: float) -> str:
    """A time for reading, in its two greatest units: 0.0046 → 4.6 ms, 90 → 1 min 30 s."""
    if 0 < seconds < 0.01:
        return f"{seconds * 1000:.2g} ms"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"),
             (whole % 60, "s")]  # fmt: skip
    first = next((number for number, (count, _) in enumerate(units) if count), len(units) - 1)
    parts = [f"{count} {name}" for count, name in units[first : first + 2] if count]
    return " ".join(parts) or "0 s"


def _along(at: float, seconds: float, box: Box) -> float:
    return box.width * min(max(at / seconds, 0.0), 1.0) if seconds > 0 else box.width / 2


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 to the first that is not below the top, four or five of them."""
    if top < LEAST:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power * 5 >= top)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def _times(seconds: float, box: Box) -> list[tuple[float, str]]:
    """Where the time axis is labelled: at round seconds, minutes or hours."""
    if seconds < LEAST:
        return []
    if seconds < TIMES[0]:
        every = _ticks(seconds)[1]
    else:
        every = next((each for each in TIMES if each * box.ticks >= seconds), 0)
        every = every or math.ceil(seconds / box.ticks / TIMES[-1]) * TIMES[-1]
    count = int(seconds / every + 1e-9)
    return [
        (_along(number * every, seconds, box), duration(number * every))
        for number in range(count + 1)
    ]
