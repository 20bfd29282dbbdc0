"""The page of `trueup demo` and `trueup try`: selects the contents; the template words them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from trueup import __version__
from trueup.core import config
from trueup.show import figures, page
from trueup.show.figures import Line, Part, Target
from trueup.vocabulary import values
from trueup.vocabulary.values import Found, Row


def build(
    found: Found,
    made_at: datetime,
    documents: Sequence[str] = (),
    tenant_label: str = "tenant",
    **origin: Any,
) -> str:
    """The page as HTML.

    documents: columns, as table.column, whose values are never rewritten in place.
    tenant_label: the word for a tenant.
    origin: name; facts, pairs (term, description) for the foot of the page; command, makes the page
    again; all_values, where every spelling can be read; alias_seed.
    """
    groups = values.groups(found)
    canonical = [group for group in groups if group["kind"] == "change"]
    left = [group for group in groups if group["kind"] != "change"]
    strips = {each.name: each for each in figures.strips(map(_tenant, found.tenants), _filled)}
    names = [row["place"] for row in found.columns]
    return page.render(
        "report.html.j2",
        origin=origin,
        documents=documents,
        tenant_label=tenant_label,
        made_at=made_at,
        version=__version__,
        vocabulary=found.vocabulary,
        total=found.total,
        parts=parts,
        spellings=len(found.values),
        understood=sum(len(group["spellings"]) for group in canonical),
        columns=found.columns,
        flow=figures.flow(map(_target, groups)),
        canonical=canonical,
        left=left,
        stays=list(_stays(left, found.vocabulary.aliases)),
        strips=[strips[name] for name in names if name in strips],
        queue=found.unmapped,
        seed_columns=",".join(config.ALIAS_COLUMNS),
    )


def parts(row: Row) -> list[Part]:
    """A row of coverage as the parts of a bar; they add up to all rows."""
    return [*_filled(row), Part("empty", row["missing"], "missing")]


def _filled(row: figures.Row) -> list[Part]:
    return [
        Part("canonical already", row["canonical"], "now"),
        Part("to be changed", row["to_change"], "change"),
        Part("known, stays", row["known"], "stays"),
        Part("unknown", row["undecided"], "unknown"),
    ]


def _stays(left: Sequence[Row], aliases: Sequence[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """Values that stay on purpose, each group with its spellings by the reason of their alias."""
    reasons = {row["alias_text"]: row["reason"] for row in aliases}
    for group in left:
        by_reason: dict[str, list[Row]] = {}
        for row in group["spellings"] if group["kind"] == "stays" else []:
            reason = reasons.get(row["matched_alias"] or "", "no reason given")
            by_reason.setdefault(reason, []).append(row)
        if by_reason:
            detailed = [
                values.group(group["title"], "", reason, "stays", own)
                for reason, own in by_reason.items()
            ]
            yield group, sorted(detailed, key=lambda each: -each["rows"])


def _target(group: Row) -> Target:
    lines = [
        Line(
            row["value"], row["rows"], "now" if row["resolution"] == "canonical" else group["kind"]
        )
        for row in group["spellings"]
    ]
    return Target(group["title"], group["kind"], group["rows"], len(lines), lines)


def _tenant(row: Row) -> Row:
    """A row with its shares of what is filled, for reading."""
    now, after = (page.percent(row[name], row["filled"]) for name in ("canonical", "resolved"))
    return {**row, "now": now, "after": after}
