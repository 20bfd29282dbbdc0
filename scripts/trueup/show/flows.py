"""What became what in the columns of a run, for the pages of a report and of a verification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trueup.show import figures, page
from trueup.show.figures import Flow
from trueup.show.words import KINDS, LEFT

DRAWN = 14  # spellings in the flow of a column, besides one per target
EMPTY = ("null", "blank")


@dataclass(frozen=True)
class Target:
    """The spellings of one canonical value, or those that stay for one reason (left_because).

    In a rollback the canonical value is what the spellings came back from.
    """

    table_name: str
    column_name: str
    gathered_value: str | None
    left_because: str | None
    spellings: int
    spellings_changed: int
    rows_planned: int
    rows_changed: int


@dataclass(frozen=True)
class Value:
    """A value of the run's map; value_after is None where it stays."""

    table_name: str
    column_name: str
    value_before: str | None
    value_after: str | None
    match_type: str
    is_planned: bool
    rows_planned: int
    rows_changed: int
    gathered_value: str | None
    left_because: str | None


@dataclass(frozen=True)
class ColumnPicture:
    """What became what in one column: flows in both shapes, and the same as tables.

    changed, left: values listed; *_more: how many are not
    """

    name: str
    headline: str
    flows: list[Flow]
    changed: list[Value]
    changed_more: int
    left: list[Value]
    left_more: int


def picture(
    name: str,
    targets: Sequence[Target],
    values: Sequence[Value],
    rows_done: int,
    most: int,
    is_rollback: bool = False,
) -> ColumnPicture:
    """The picture of the column called `name`. No flows where it has no rows.

    targets, values: of this column; rows_done: rows that were changed or restored
    most: spellings in each table
    """
    moved = [target for target in targets if target.left_because is None and target.rows_changed]
    kept = [target for target in targets if target.left_because not in (None, *EMPTY)]
    changed = [value for value in values if value.is_planned]
    left = [value for value in values if value.left_because not in (None, *EMPTY)]
    spellings = sum(target.spellings_changed for target in moved)
    if moved and is_rollback:
        headline = (
            f"{page.plural(rows_done, 'row')} came back to {page.plural(spellings, 'spelling')}"
        )
    elif moved:
        headline = (
            f"{page.plural(spellings, 'spelling')} in {page.plural(rows_done, 'row')}"
            f" became {page.plural(len(moved), 'canonical value')}"
        )
    else:
        headline = f"nothing was {'restored' if is_rollback else 'changed'}"
    decided = sum(target.spellings for target in targets if target.left_because is None)
    staying = sum(target.spellings for target in kept)
    return ColumnPicture(
        name=name,
        headline=headline,
        flows=_flows([*moved, *kept], values, is_rollback),
        changed=changed[:most],
        changed_more=decided - len(changed[:most]),
        left=left[:most],
        left_more=staying - len(left[:most]),
    )


def _flows(targets: Sequence[Target], values: Sequence[Value], back: bool) -> list[Flow]:
    """The same flow for a desk and for a phone; spellings are on the left in both directions."""
    changed = [value for value in values if value.left_because is None]
    commonest = sorted(changed, key=lambda value: -value.rows_changed)[:DRAWN]
    drawn = {id(value) for value in commonest}
    found = []
    for shape in (figures.WIDE, figures.NARROW):
        laid = [
            figures.Target(
                page.short(_title(target), shape.right_columns),
                _kind(target),
                list(_streams(target, values, drawn, shape, back)),
            )
            for target in targets
        ]
        found.append(figures.flow(laid, shape))
    return found if any(target.rows for target in laid) else []


def _title(target: Target) -> str | None:
    if target.left_because is None:
        return target.gathered_value
    return LEFT.get(target.left_because, (target.left_because, ""))[0]


def _kind(target: Target) -> str:
    return "change" if target.left_because is None else KINDS.get(target.left_because, "stays")


def _streams(
    target: Target, values: Sequence[Value], drawn: set[int], shape: figures.Shape, back: bool
) -> Iterator[figures.Stream]:
    """The spellings chosen and the commonest one; the rest as one stream."""
    stays = target.left_because is not None
    own = [
        value
        for value in values
        if (value.gathered_value, value.left_because)
        == (target.gathered_value, target.left_because)
    ]
    spellings = target.spellings if stays else target.spellings_changed
    rows = target.rows_planned if stays else target.rows_changed
    for number, value in enumerate(own):
        count = value.rows_planned if stays else value.rows_changed
        if count and (number == 0 or id(value) in drawn or spellings == 1):
            text = value.value_after if back else value.value_before
            yield figures.Stream(page.short(text, shape.left_columns), count, _kind(target))
            spellings -= 1
            rows -= count
    if rows > 0:
        more = f"{page.number(max(spellings, 1))} more"
        label = f"{more} spellings" if len(more) + 10 <= shape.left_columns else more
        yield figures.Stream(label, rows, _kind(target))
