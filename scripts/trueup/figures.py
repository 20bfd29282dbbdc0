"""Geometry of the figures: numbers in, coordinates out. The templates draw them as SVG.

All coordinates are user units of the figure's own viewBox, which are CSS pixels at its natural
width. A `kind` is a class of the style sheet: now, change, stays, unknown or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
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
