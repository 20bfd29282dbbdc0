"""The columns of a run, for the pages of a report and of a verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueup.show import figures
from trueup.show.figures import Line, Part, Row, Target
from trueup.show.terminal import counted
from trueup.show.words import KINDS, LEFT

SPELLINGS = 200  # of a column that changed; of those that stay
EMPTY = ("null", "blank")


@dataclass(frozen=True)
class ColumnPicture:
    """The changes of one column: as a flow, and as tables of values.

    *_more: how many values are not listed
    """

    name: str
    headline: str
    flow: list[Target]
    changed: Sequence[Row]
    changed_more: int
    left: Sequence[Row]
    left_more: int


def place(row: Row) -> str:
    """table.column"""
    return f"{row['table_name']}.{row['column_name']}"


def parts(column: Row) -> list[Part]:
    """All rows of a run's column, as the plan counted them, by what became of them."""
    names = ("rows_planned", "rows_updated", "rows_left", "null_total", "blank_total")
    planned, done, left, null, blank = (column[name] or 0 for name in names)
    total, empty = column["row_total"], null + blank
    before = 0 if total is None else max(total - empty - planned - left, 0)
    return [
        Part("canonical before", before, "now"),
        Part("changed", done, "change"),
        Part("left as planned", left, "stays"),
        Part("promised, not changed", max(planned - done, 0), "unknown"),
        Part("empty", empty, "missing"),
    ]


def picture(
    column: Row, targets: Sequence[Row], values: Sequence[Row], is_rollback: bool = False
) -> ColumnPicture:
    """The picture of one column. Its flow is empty if no row of it moved or stays.

    targets: the spellings of one canonical value, or those that stay for one reason
    (left_because); in a rollback the canonical value is what the spellings came back from.
    values: of the run's map, the commonest first. Both may be of other columns, too.
    """
    name = place(column)
    targets = [row for row in targets if place(row) == name and row["left_because"] not in EMPTY]
    values = [row for row in values if place(row) == name]
    changed = [row for row in values if row["is_planned"]]
    left = [row for row in values if row["left_because"] not in (None, *EMPTY)]
    decided = sum(row["spellings"] for row in targets if row["left_because"] is None)
    staying = sum(row["spellings"] for row in targets if row["left_because"] is not None)
    return ColumnPicture(
        name=name,
        headline=_headline(column, targets, is_rollback),
        flow=figures.flow(_target(row, values, is_rollback) for row in targets),
        changed=changed[:SPELLINGS],
        changed_more=decided - len(changed[:SPELLINGS]),
        left=left[:SPELLINGS],
        left_more=staying - len(left[:SPELLINGS]),
    )


def _headline(column: Row, targets: Sequence[Row], is_rollback: bool) -> str:
    moved = [row for row in targets if row["left_because"] is None and row["rows_changed"]]
    if not moved:
        return f"nothing was {'restored' if is_rollback else 'changed'}"
    rows = counted(column["rows_updated"], "row")
    spellings = counted(sum(row["spellings_changed"] for row in moved), "spelling")
    if is_rollback:
        return f"{rows} came back to {spellings}"
    return f"{spellings} in {rows} became {counted(len(moved), 'canonical value')}"


def _target(row: Row, values: Sequence[Row], is_rollback: bool) -> Target:
    because = row["left_because"]
    kind = "change" if because is None else KINDS.get(because, "stays")
    rows, spellings = (
        ("rows_changed", "spellings_changed") if because is None else ("rows_planned", "spellings")
    )
    text = "value_after" if is_rollback else "value_before"
    own = [
        Line(value[text], value[rows], kind)
        for value in values
        if (value["gathered_value"], value["left_because"]) == (row["gathered_value"], because)
    ]
    title = row["gathered_value"] if because is None else LEFT.get(because, (because, ""))[0]
    return Target(title, kind, row[rows], row[spellings], own)
