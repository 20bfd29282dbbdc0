"""The page of `trueup verify`: selects the contents; the template formats them.

Its source is the document that verify.run makes and that the ledger keeps, so that the page of an
old verification can be made again without its database.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from trueup.show import document as findings
from trueup.show import figures, flows
from trueup.show.figures import Part, Row

READ = 12  # rows of the sample at first sight: those edited since, and some from all over
SAMPLED = 500  # in all; the rest is counted, and the JSON has it


def build(document: Mapping[str, Any]) -> str:
    """The page as HTML, of the document of a verification."""
    details = document["details"]
    is_rollback = details["run"]["restores"]
    tenants, tenants_more = _answers(document, "per_fund_breakdown")
    drawn, drawn_more = _answers(document, "sample_inspection")
    sample = [{**row, "now": _now(row)} for row in drawn]
    first, later = _to_read(sample[:SAMPLED])
    columns = details["columns"]
    pictures = [
        flows.picture(column, details["targets"], details["values"], is_rollback)
        for column in columns
    ]
    strips = figures.strips(sorted(tenants, key=lambda row: -row["rows"]), _tenant_parts)
    return findings.as_page(
        document,
        "verification.html.j2",
        details=details,
        run=details["run"],
        is_rollback=is_rollback,
        column_parts=figures.summed(map(flows.parts, columns)),
        columns=[(column, flows.place(column), flows.parts(column)) for column in columns],
        pictures=[picture for picture in pictures if picture.flow],
        strips=strips,
        tenant_label=details["tenant_label"],
        legend=figures.legend(strips),
        tenants_more=tenants_more,
        sample=first,
        sample_later=later,
        sample_count=len(sample) + drawn_more,
        has_columns=len({flows.place(row) for row in sample}) > 1,
        edited=sum(row["now"] != "same" for row in sample),
        scope=_scope(details),
        command=command(document),
    )


def command(document: Mapping[str, Any]) -> str:
    """The command that repeats the verification, with the same sample."""
    details = document["details"]
    words = ["trueup", "verify", details["run"]["short_id"]]
    for table in details["tables"] or []:
        words += ["--table", table]
    for tenant in details["tenants"] or []:
        words += ["--tenant", tenant]
    words += ["--sample-size", str(details["sample_size"]), "--seed", str(details["seed"]),
              "--epsilon", str(details["epsilon"])]  # fmt: skip
    words += ["--quiesced"] if details["quiesced"] else []
    words += ["--strict"] if document["metadata"]["strict"] else []
    return shlex.join(words)


def _answers(document: Mapping[str, Any], code: str) -> tuple[list[dict[str, Any]], int]:
    """The informational findings that a check lists, and how many more there are.

    If a part of it could not be read, it also lists an error, which is of no column.
    """
    listed, count = [], 0
    for each in document["checks"]:
        if each["code"] == code:
            listed += each["sample"]
            count += each["rows"] or 0
    return [each for each in listed if "column_name" in each], max(count - len(listed), 0)


def _tenant_parts(row: Row) -> list[Part]:
    """All rows of a tenant. Rows that were edited after the run count by their present value."""
    filled = max(row["rows"] - row["rows_left"] - row["rows_empty"], 0)
    changed = min(row["rows_changed"], filled)
    return [
        Part("canonical before", filled - changed, "now"),
        Part("changed", changed, "change"),
        Part("left, not canonical", row["rows_left"], "stays"),
        Part("empty", row["rows_empty"], "missing"),
    ]


def _now(row: Row) -> str:
    if not row["is_there"]:
        return "gone"
    return "same" if row["value_now"] == row["value_after"] else "other"


def _to_read(sample: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to read first, and the rest, both in the sample's own order.

    Rows that were edited since come first; the rest is picked evenly, because a sample may be
    sorted by its values.
    """
    edited = [number for number, row in enumerate(sample) if row["now"] != "same"][:READ]
    others = [number for number, row in enumerate(sample) if row["now"] == "same"]
    room = min(READ - len(edited), len(others))
    first = {*edited, *(others[number * len(others) // room] for number in range(room))}
    return (
        [row for number, row in enumerate(sample) if number in first],
        [row for number, row in enumerate(sample) if number not in first],
    )


def _scope(details: Mapping[str, Any]) -> str:
    """The selected scope, if it is not everything."""
    named = (("tables", details["tables"]), ("tenants", details["tenants"]))
    return "; ".join(f"{what} {', '.join(names)}" for what, names in named if names)
